//! How a file looks in each generation.

use serde::Serialize;

use super::call::timestamp;
use super::dialect::kind;
use super::query::Generation;
use crate::files::{FileEntry, FileKind};

/// Where a session's files are, for guests and callers.
pub(super) const DATA: &str = "/mnt/data";

/// A file in the new shape, in the old one under `properties`, or in both.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    #[serde(rename = "$id", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(flatten)]
    new: Option<New<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Old<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct New<'a> {
    /// Relative to `directory`: name and folder together are what the other file routes take.
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
    size_in_bytes: u64,
    last_modified_at: String,
    /// The folder that was asked for.
    directory: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Old<'a> {
    #[serde(rename = "$id", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Relative to `/mnt/data`.
    filename: &'a str,
    size: u64,
    last_modified_time: String,
}

/// Files, in the envelope of a generation.
#[derive(Serialize)]
pub(super) struct FileList<'a> {
    #[serde(rename = "$id", skip_serializing_if = "Option::is_none")]
    id: Option<&'static str>,
    value: Vec<Entry<'a>>,
    /// Always null: a list comes whole. The old envelope has no such field.
    #[serde(rename = "nextLink", skip_serializing_if = "Option::is_none")]
    next_link: Option<()>,
}

impl<'a> Entry<'a> {
    /// `folder` is the guest path of the folder that was asked for.
    pub(super) fn of(entry: &'a FileEntry, folder: &'a str, generation: Generation) -> Self {
        Self {
            id: None,
            new: (generation != Generation::Old).then(|| New::of(entry, folder)),
            properties: (generation != Generation::New).then(|| Old::of(entry)),
        }
    }

    /// The numbered objects of the old envelope.
    fn numbered(mut self, at: usize) -> Self {
        self.id = Some((2 * at + 2).to_string());
        if let Some(properties) = &mut self.properties {
            properties.id = Some((2 * at + 3).to_string());
        }
        self
    }
}

impl<'a> New<'a> {
    fn of(entry: &'a FileEntry, folder: &'a str) -> Self {
        let below = folder.strip_prefix(DATA).unwrap_or_default().trim_start_matches('/');
        let within = entry.path.strip_prefix(below).and_then(|rest| rest.strip_prefix('/'));
        let name = within.unwrap_or(&entry.path);
        Self {
            name,
            kind: kind(entry.kind),
            content_type: (entry.kind != FileKind::Directory).then(|| content_type(name)),
            size_in_bytes: entry.size_bytes,
            last_modified_at: timestamp(entry.modified_at),
            directory: folder,
        }
    }
}

impl<'a> Old<'a> {
    fn of(entry: &'a FileEntry) -> Self {
        Self {
            id: None,
            filename: &entry.path,
            size: entry.size_bytes,
            last_modified_time: timestamp(entry.modified_at),
        }
    }
}

impl<'a> FileList<'a> {
    pub(super) fn of(entries: &'a [FileEntry], folder: &'a str, generation: Generation) -> Self {
        let shown = entries.iter().map(|entry| Entry::of(entry, folder, generation));
        if generation == Generation::Old {
            let value = shown.enumerate().map(|(at, entry)| entry.numbered(at)).collect();
            return Self { id: Some("1"), value, next_link: None };
        }
        Self { id: None, value: shown.collect(), next_link: Some(()) }
    }
}

/// A guess by the name's end, as servers of static files make it.
fn content_type(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    match end.to_ascii_lowercase().as_str() {
        "txt" | "log" | "md" => "text/plain",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "py" => "text/x-python",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn list(folder: &str, generation: Generation) -> Value {
        let at = time::macros::datetime!(2024-05-02 07:21:07.9922617 UTC);
        let entries = [FileEntry { path: "dir/a b.csv".into(), kind: FileKind::File, size_bytes: 3, modified_at: at }];
        serde_json::to_value(FileList::of(&entries, folder, generation)).unwrap()
    }

    const AT: &str = "2024-05-02T07:21:07.992261700Z";

    #[test]
    fn the_old_generation_has_numbered_properties() {
        assert_eq!(
            list(DATA, Generation::Old),
            json!({"$id": "1", "value": [{"$id": "2", "properties": {"$id": "3", "filename": "dir/a b.csv", "size": 3, "lastModifiedTime": AT}}]})
        );
    }

    #[test]
    fn the_new_generation_names_a_file_within_its_folder() {
        assert_eq!(
            list("/mnt/data/dir", Generation::New),
            json!({"value": [{"name": "a b.csv", "type": "file", "contentType": "text/csv", "sizeInBytes": 3, "lastModifiedAt": AT,
                "directory": "/mnt/data/dir"}], "nextLink": null})
        );
        assert_eq!(list(DATA, Generation::New)["value"][0]["name"], "dir/a b.csv");
    }

    #[test]
    fn without_a_version_an_entry_has_both() {
        let entry = &list(DATA, Generation::Both)["value"][0];
        assert_eq!(entry["sizeInBytes"], 3);
        assert_eq!(entry["properties"], json!({"filename": "dir/a b.csv", "size": 3, "lastModifiedTime": AT}));
    }
}
