//! A session pool as a resource: what was asked for through the API, kept in a database in the data directory.
//!
//! It knows no wire shape beyond keeping one: `properties` is what the caller gave, checked and completed by `api/`, and
//! the specification beside it is what that means.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use time::OffsetDateTime;

use super::{PoolName, PoolSpecification};
use crate::database::{self, Connection, DatabaseError, Durability, Row, params};

const MIGRATIONS: &[&str] = &["
CREATE TABLE pool (
    name TEXT PRIMARY KEY,
    subscription TEXT NOT NULL,
    resource_group TEXT NOT NULL,
    location TEXT NOT NULL,
    tags TEXT NOT NULL,
    identity TEXT NOT NULL,
    properties TEXT NOT NULL,
    specification TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
"];

/// A pool that was made through the API. `properties` may hold secrets: it is stored and never logged.
#[derive(Clone)]
pub struct PoolResource {
    pub subscription: String,
    pub resource_group: String,
    pub location: String,
    pub tags: BTreeMap<String, String>,
    /// As given, or null.
    pub identity: Value,
    pub properties: Value,
    pub specification: PoolSpecification,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl PoolResource {
    pub fn name(&self) -> &PoolName {
        &self.specification.name
    }

    /// Whether it lies there. Azure compares these names without case.
    pub fn is_in(&self, subscription: &str, resource_group: Option<&str>) -> bool {
        self.subscription.eq_ignore_ascii_case(subscription)
            && resource_group.is_none_or(|group| self.resource_group.eq_ignore_ascii_case(group))
    }
}

/// The resources on disk.
pub struct PoolStore(Mutex<Connection>);

impl PoolStore {
    /// Opens `pools.db` in the data directory. Blocks, as all of this does.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(data_dir: &Path) -> Result<Self, DatabaseError> {
        let database = database::open(&data_dir.join("pools.db"), Durability::Power, MIGRATIONS)?;
        Ok(Self(Mutex::new(database)))
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// When the database fails, or holds nonsense.
    pub fn load(&self) -> Result<Vec<PoolResource>, DatabaseError> {
        let database = self.database();
        let mut statement = database.prepare("SELECT * FROM pool ORDER BY name")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Keeps a resource, in the place of the one of its name. It is on disk when this returns.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put(&self, resource: &PoolResource) -> Result<(), DatabaseError> {
        let specification = serde_json::to_string(&resource.specification).map_err(DatabaseError::content)?;
        let tags = serde_json::to_string(&resource.tags).map_err(DatabaseError::content)?;
        self.database().execute(
            "INSERT OR REPLACE INTO pool VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                resource.name().as_str(),
                resource.subscription,
                resource.resource_group,
                resource.location,
                tags,
                resource.identity.to_string(),
                resource.properties.to_string(),
                specification,
                resource.created_at.unix_timestamp(),
                resource.updated_at.unix_timestamp(),
            ],
        )?;
        Ok(())
    }

    /// Forgets a resource.
    ///
    /// # Errors
    /// When the database fails.
    pub fn delete(&self, name: &PoolName) -> Result<(), DatabaseError> {
        self.database().execute("DELETE FROM pool WHERE name = ?1", [name.as_str()])?;
        Ok(())
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(row: &Row<'_>) -> Result<PoolResource, DatabaseError> {
    let text = |column: &str| row.get::<_, String>(column);
    let moment = |column: &str| OffsetDateTime::from_unix_timestamp(row.get(column)?).map_err(DatabaseError::content);
    Ok(PoolResource {
        subscription: text("subscription")?,
        resource_group: text("resource_group")?,
        location: text("location")?,
        tags: serde_json::from_str(&text("tags")?).map_err(DatabaseError::content)?,
        identity: serde_json::from_str(&text("identity")?).map_err(DatabaseError::content)?,
        properties: serde_json::from_str(&text("properties")?).map_err(DatabaseError::content)?,
        specification: serde_json::from_str(&text("specification")?).map_err(DatabaseError::content)?,
        created_at: moment("created_at")?,
        updated_at: moment("updated_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_put_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let mut resource = PoolResource {
            subscription: "S".into(),
            resource_group: "g".into(),
            location: "local".into(),
            tags: [("a".to_owned(), "b".to_owned())].into(),
            identity: Value::Null,
            properties: json!({"containerType": "PythonLTS"}),
            specification: PoolSpecification::named(PoolName::new("p").unwrap()),
            created_at: now,
            updated_at: now,
        };
        PoolStore::open(folder.path()).unwrap().put(&resource).unwrap();
        resource.tags.clear();
        let store = PoolStore::open(folder.path()).unwrap();
        store.put(&resource).unwrap();
        let found = store.load().unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].tags.is_empty() && found[0].is_in("s", Some("G")) && !found[0].is_in("s", Some("h")));
        assert_eq!((&found[0].specification, found[0].created_at), (&resource.specification, now));
        store.delete(resource.name()).unwrap();
        assert!(PoolStore::open(folder.path()).unwrap().load().unwrap().is_empty());
    }
}
