-- Times are nanoseconds since 1970. Identifiers stand in plain: the folder is the user's alone.
CREATE TABLE session (
    key BLOB PRIMARY KEY,
    pool TEXT NOT NULL,
    identifier TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Numbers are never given twice: a caller may hold one.
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session BLOB NOT NULL,
    number INTEGER NOT NULL,
    taken_at INTEGER NOT NULL,
    -- Of all chunks together, shared ones too.
    bytes INTEGER NOT NULL,
    manifest BLOB NOT NULL
) STRICT;
CREATE INDEX snapshot_session ON snapshot (session);

-- Apart from their content, so that counting references rewrites little.
CREATE TABLE chunk (
    id BLOB PRIMARY KEY,
    refs INTEGER NOT NULL,
    place INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE content (
    place INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;
