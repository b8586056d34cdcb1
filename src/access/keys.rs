//! API keys: kept in a database, looked up in memory.
//!
//! What a request needs is in memory, so that no request waits for a disk. Changes go to the database first. Another
//! process may change it too (`sandpool key create --local`): [`Keys::refresh`] notices.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use time::{Duration, OffsetDateTime};

use super::caller::{Caller, Grant, Proof};
use super::key::{self, Digest, Key, KeyId};
use crate::database::{self, Connection, DatabaseError, Durability, Row, SqlError, params};

/// Keys that may be kept, revoked ones included: each is in memory.
pub const MAX_KEYS: usize = 100_000;

const MIGRATIONS: &[&str] = &["
CREATE TABLE key (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    grant TEXT NOT NULL,
    tenant TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"];

/// A key as it is kept: everything but its secret.
#[derive(Clone)]
pub struct KeyRecord {
    pub id: KeyId,
    /// For people.
    pub name: String,
    grants: Arc<[Grant]>,
    pub tenant: Option<String>,
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
    digest: Digest,
}

impl KeyRecord {
    /// What it allows.
    pub fn grant(&self) -> &Grant {
        &self.grants[0]
    }

    /// Whether it opens anything at `now`.
    pub fn is_active(&self, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    pub grant: Grant,
    pub tenant: Option<String>,
    pub expires_at: Option<OffsetDateTime>,
}

/// Why a key opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    Unknown,
    Expired,
    Revoked,
}

/// Why keys were not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no such key")]
    NotFound,
    #[error("the key is not active any more")]
    NotActive,
    #[error("{limit} keys are kept, the most there may be")]
    TooMany { limit: usize },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<SqlError> for KeyError {
    fn from(error: SqlError) -> Self {
        Self::Database(error.into())
    }
}

/// All keys.
pub struct Keys {
    database: Mutex<Connection>,
    known: RwLock<HashMap<KeyId, KeyRecord>>,
    /// The database's own count of other connections' changes, as it was when `known` was read.
    seen: Mutex<i64>,
}

impl Keys {
    /// Opens `access.db` in the data directory.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(data_dir: &Path) -> Result<Self, KeyError> {
        let database = database::open(&data_dir.join("access.db"), Durability::Power, MIGRATIONS)?;
        let keys = Self { database: Mutex::new(database), known: RwLock::default(), seen: Mutex::new(-1) };
        keys.refresh()?;
        Ok(keys)
    }

    /// Whether there is or was any key. Once there was one the gateway asks for keys for good: the end of the last key
    /// must not open it.
    pub fn is_empty(&self) -> bool {
        self.known().is_empty()
    }

    /// Who holds this key.
    ///
    /// # Errors
    /// See [`NoKey`].
    pub fn admit(&self, key: &Key, now: OffsetDateTime) -> Result<Caller, NoKey> {
        let known = self.known();
        let record = known.get(&key.id).filter(|record| record.digest.fits(&key.digest())).ok_or(NoKey::Unknown)?;
        if record.revoked_at.is_some() {
            return Err(NoKey::Revoked);
        }
        if !record.is_active(now) {
            return Err(NoKey::Expired);
        }
        Ok(Caller::new(Proof::Key, key.id.as_str(), record.tenant.as_deref(), record.grants.clone()))
    }

    pub fn find(&self, id: &KeyId) -> Option<KeyRecord> {
        self.known().get(id).cloned()
    }

    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<KeyRecord> {
        let mut all: Vec<_> = self.known().values().cloned().collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    /// Makes a key. It is on disk when this returns. Blocks.
    ///
    /// # Errors
    /// When there are too many, or the database fails.
    pub fn create(&self, new: NewKey) -> Result<(Key, KeyRecord), KeyError> {
        let database = self.database();
        self.insert(&database, new)
    }

    /// Makes a key like another, which ends `overlap` from now if it does not end sooner. Blocks.
    ///
    /// # Errors
    /// When the other is not there or not active, or the database fails.
    pub fn rotate(&self, id: &KeyId, overlap: Duration) -> Result<(Key, KeyRecord), KeyError> {
        let database = self.database();
        let now = now();
        let old = self.find(id).ok_or(KeyError::NotFound)?;
        if !old.is_active(now) {
            return Err(KeyError::NotActive);
        }
        // Its lifetime begins anew.
        let expires_at = old.expires_at.map(|end| now + (end - old.created_at));
        let new = NewKey { name: old.name.clone(), grant: old.grant().clone(), tenant: old.tenant.clone(), expires_at };
        let made = self.insert(&database, new)?;
        let end = old.expires_at.map_or(now + overlap, |end| end.min(now + overlap));
        database.execute("UPDATE key SET expires_at = ?2 WHERE id = ?1", params![id.as_str(), end.unix_timestamp()])?;
        self.known_mut().entry(id.clone()).and_modify(|record| record.expires_at = Some(end));
        Ok(made)
    }

    /// Ends a key now; it stays in the list. Blocks.
    ///
    /// # Errors
    /// When it is not there, or the database fails.
    pub fn revoke(&self, id: &KeyId) -> Result<(), KeyError> {
        let database = self.database();
        let now = now();
        // The first end counts.
        let changed = database.execute(
            "UPDATE key SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1",
            params![id.as_str(), now.unix_timestamp()],
        )?;
        if changed == 0 {
            return Err(KeyError::NotFound);
        }
        let end = |record: &mut KeyRecord| record.revoked_at = record.revoked_at.or(Some(now));
        self.known_mut().entry(id.clone()).and_modify(end);
        Ok(())
    }

    /// Reads the keys again if another process changed them. Blocks, for microseconds when nothing changed.
    ///
    /// # Errors
    /// When the database fails.
    pub fn refresh(&self) -> Result<(), KeyError> {
        let database = self.database();
        let version: i64 = database.pragma_query_value(None, "data_version", |row| row.get(0))?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen != version {
            let mut statement = database.prepare("SELECT * FROM key")?;
            let mut rows = statement.query([])?;
            let mut known = HashMap::new();
            while let Some(row) = rows.next()? {
                let record = read(row)?;
                known.insert(record.id.clone(), record);
            }
            *self.known_mut() = known;
            *seen = version;
        }
        Ok(())
    }

    /// A secret of the gateway's own, made when it is first asked for. Blocks.
    ///
    /// # Errors
    /// When the database fails.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], KeyError> {
        let database = self.database();
        database.execute("INSERT OR IGNORE INTO secret VALUES (?1, ?2)", params![name, key::random::<32>()])?;
        Ok(database.query_row("SELECT value FROM secret WHERE name = ?1", [name], |row| row.get(0))?)
    }

    fn insert(&self, database: &Connection, new: NewKey) -> Result<(Key, KeyRecord), KeyError> {
        if self.known().len() >= MAX_KEYS {
            return Err(KeyError::TooMany { limit: MAX_KEYS });
        }
        let key = Key::random();
        let record = KeyRecord {
            id: key.id.clone(),
            name: new.name,
            grants: [new.grant].into(),
            tenant: new.tenant,
            created_at: now(),
            expires_at: new.expires_at,
            revoked_at: None,
            digest: key.digest(),
        };
        let grant = serde_json::to_string(record.grant()).expect("a grant becomes JSON");
        let (created, expires) =
            (record.created_at.unix_timestamp(), record.expires_at.map(OffsetDateTime::unix_timestamp));
        database.execute(
            "INSERT INTO key VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)",
            params![record.id.as_str(), record.name, record.digest.as_bytes(), grant, record.tenant, created, expires],
        )?;
        self.known_mut().insert(record.id.clone(), record.clone());
        Ok((key, record))
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, HashMap<KeyId, KeyRecord>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<KeyId, KeyRecord>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole seconds: what the database keeps.
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().replace_nanosecond(0).expect("zero is a nanosecond")
}

fn read(row: &Row<'_>) -> Result<KeyRecord, DatabaseError> {
    let (id, grant): (String, String) = (row.get("id")?, row.get("grant")?);
    let digest: Vec<u8> = row.get("digest")?;
    Ok(KeyRecord {
        id: KeyId::new(&id).map_err(DatabaseError::content)?,
        name: row.get("name")?,
        grants: [serde_json::from_str(&grant).map_err(DatabaseError::content)?].into(),
        tenant: row.get("tenant")?,
        created_at: moment(row.get("created_at")?)?,
        expires_at: row.get::<_, Option<i64>>("expires_at")?.map(moment).transpose()?,
        revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(moment).transpose()?,
        digest: Digest::from_bytes(&digest).ok_or_else(|| DatabaseError::content("a digest has 32 bytes"))?,
    })
}

fn moment(seconds: i64) -> Result<OffsetDateTime, DatabaseError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(DatabaseError::content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::caller::{Pools, Role};

    fn new(name: &str) -> NewKey {
        let grant = Grant { roles: [Role::Executor].into(), pools: Pools::All };
        NewKey { name: name.into(), grant, tenant: Some("t1".into()), expires_at: None }
    }

    #[test]
    fn a_key_opens_until_it_is_revoked_and_its_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        assert!(keys.is_empty());
        let (key, record) = keys.create(new("ci")).unwrap();
        let caller = keys.admit(&key, now()).unwrap();
        assert_eq!((&*caller.id, caller.tenant.as_deref()), (key.id.as_str(), Some("t1")));
        drop(keys);
        let keys = Keys::open(folder.path()).unwrap();
        assert!(keys.admit(&key, now()).is_ok());
        keys.revoke(&record.id).unwrap();
        assert_eq!(keys.admit(&key, now()).unwrap_err(), NoKey::Revoked);
        drop(keys);
        let keys = Keys::open(folder.path()).unwrap();
        assert_eq!(keys.admit(&key, now()).unwrap_err(), NoKey::Revoked);
        assert!(!keys.is_empty(), "the end of the last key does not open the gateway");
    }

    #[test]
    fn a_known_id_with_another_secret_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        let (key, _) = keys.create(new("ci")).unwrap();
        let other = Key::random().reveal();
        let forged = format!("sandpool_{}_{}", key.id.as_str(), other.rsplit_once('_').map_or(&*other, |(_, s)| s));
        // A secret may hold an underscore itself; then the forgery is no key at all.
        if let Some(forged) = Key::parse(&forged) {
            assert_eq!(keys.admit(&forged, now()).unwrap_err(), NoKey::Unknown);
        }
        assert_eq!(keys.admit(&Key::random(), now()).unwrap_err(), NoKey::Unknown);
    }

    #[test]
    fn a_rotated_key_goes_on_for_the_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        let (old, _) = keys.create(new("ci")).unwrap();
        let (young, record) = keys.rotate(&old.id, Duration::hours(1)).unwrap();
        assert_eq!(record.name, "ci");
        assert!(keys.admit(&old, now()).is_ok() && keys.admit(&young, now()).is_ok());
        let later = now() + Duration::hours(1);
        assert_eq!(keys.admit(&old, later).unwrap_err(), NoKey::Expired);
        assert!(keys.admit(&young, later).is_ok());
        keys.revoke(&old.id).unwrap();
        assert!(matches!(keys.rotate(&old.id, Duration::ZERO), Err(KeyError::NotActive)));
    }

    #[test]
    fn what_another_process_did_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (serving, local) = (Keys::open(folder.path()).unwrap(), Keys::open(folder.path()).unwrap());
        let (key, _) = local.create(new("first")).unwrap();
        assert_eq!(serving.admit(&key, now()).unwrap_err(), NoKey::Unknown);
        serving.refresh().unwrap();
        assert!(serving.admit(&key, now()).is_ok());
        local.revoke(&key.id).unwrap();
        serving.refresh().unwrap();
        assert_eq!(serving.admit(&key, now()).unwrap_err(), NoKey::Revoked);
    }

    #[test]
    fn no_secret_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        let text = keys.create(new("ci")).unwrap().0.reveal();
        let secret = text.splitn(3, '_').last().unwrap().as_bytes().to_vec();
        for entry in folder.path().read_dir().unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }

    #[test]
    fn the_gateways_own_secret_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::open(folder.path()).unwrap().secret("tokens").unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        assert_eq!(keys.secret("tokens").unwrap(), first);
        assert_ne!(keys.secret("other").unwrap(), first);
    }
}
