//! A session pool as a resource: what was asked for through the API, kept in a database in the data directory.
//!
//! It knows no wire shape beyond keeping one: `properties` is what the caller gave, checked and completed by `api/`, and
//! the template beside it is what that means.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use time::OffsetDateTime;

use super::container::{ContainerPoolSpecification, Secret};
use super::{PoolName, PoolSpecification};
use crate::database::{self, Connection, DatabaseError, Durability, Row, params};

const MIGRATIONS: &[&str] = &[
    "
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
",
    // `secrets` are a container template's, whose own form leaves them out. `condemned`: it is being deleted.
    "
ALTER TABLE pool ADD COLUMN kind TEXT NOT NULL DEFAULT 'interpreter';
ALTER TABLE pool ADD COLUMN secrets TEXT NOT NULL DEFAULT '{}';
ALTER TABLE pool ADD COLUMN condemned INTEGER NOT NULL DEFAULT 0;
",
];

/// What a pool's sessions are, and how many there are of them.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one of them for a pool")]
pub enum Template {
    Interpreter(PoolSpecification),
    Container(ContainerPoolSpecification),
}

impl Template {
    pub fn name(&self) -> &PoolName {
        match self {
            Self::Interpreter(pool) => &pool.name,
            Self::Container(pool) => &pool.name,
        }
    }

    /// Whom its use is charged to.
    pub fn set_tags(&mut self, tags: BTreeMap<String, String>) {
        match self {
            Self::Interpreter(pool) => pool.tags = tags,
            Self::Container(pool) => pool.tags = tags,
        }
    }

    /// Everything that makes no sense in it.
    pub fn problems(&self) -> Vec<super::InvalidSpecification> {
        match self {
            Self::Interpreter(pool) => pool.problems(),
            Self::Container(pool) => pool.problems(),
        }
    }
}

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
    pub template: Template,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl PoolResource {
    pub fn name(&self) -> &PoolName {
        self.template.name()
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

    /// All of them, by name; those without that are being deleted.
    ///
    /// # Errors
    /// When the database fails, or holds nonsense.
    pub fn load(&self) -> Result<Vec<PoolResource>, DatabaseError> {
        let database = self.database();
        let mut statement = database.prepare("SELECT * FROM pool WHERE NOT condemned ORDER BY name")?;
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
        let json = |value: Result<String, serde_json::Error>| value.map_err(DatabaseError::content);
        let tags = json(serde_json::to_string(&resource.tags))?;
        let (kind, specification, secrets) = match &resource.template {
            Template::Interpreter(pool) => (INTERPRETER, serde_json::to_string(pool), "{}".to_owned()),
            Template::Container(pool) => {
                let secrets: BTreeMap<_, _> = pool.secrets.iter().map(|(name, secret)| (name, &secret.0)).collect();
                (CONTAINER, serde_json::to_string(pool), json(serde_json::to_string(&secrets))?)
            }
        };
        self.database().execute(
            "INSERT OR REPLACE INTO pool (name, subscription, resource_group, location, tags, identity, properties,
             specification, created_at, updated_at, kind, secrets) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                resource.name().as_str(),
                resource.subscription,
                resource.resource_group,
                resource.location,
                tags,
                resource.identity.to_string(),
                resource.properties.to_string(),
                json(specification)?,
                resource.created_at.unix_timestamp(),
                resource.updated_at.unix_timestamp(),
                kind,
                secrets,
            ],
        )?;
        Ok(())
    }

    /// Marks a resource as being deleted: it is no more, and what it left is still to be cleared away.
    ///
    /// # Errors
    /// When the database fails.
    pub fn condemn(&self, name: &PoolName) -> Result<(), DatabaseError> {
        self.database().execute("UPDATE pool SET condemned = 1 WHERE name = ?1", [name.as_str()])?;
        Ok(())
    }

    /// Those whose deletion was begun and not ended.
    ///
    /// # Errors
    /// When the database fails, or holds nonsense.
    pub fn condemned(&self) -> Result<Vec<PoolName>, DatabaseError> {
        let database = self.database();
        let mut statement = database.prepare("SELECT name FROM pool WHERE condemned ORDER BY name")?;
        let names = statement.query_map([], |row| row.get::<_, String>(0))?;
        names.map(|name| PoolName::new(&name?).map_err(DatabaseError::content)).collect()
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

const INTERPRETER: &str = "interpreter";
const CONTAINER: &str = "container";

fn template(row: &Row<'_>) -> Result<Template, DatabaseError> {
    let text = |column: &str| row.get::<_, String>(column);
    let (kind, specification) = (text("kind")?, text("specification")?);
    match kind.as_str() {
        INTERPRETER => serde_json::from_str(&specification).map(Template::Interpreter).map_err(DatabaseError::content),
        CONTAINER => {
            let mut pool: ContainerPoolSpecification =
                serde_json::from_str(&specification).map_err(DatabaseError::content)?;
            let secrets: BTreeMap<String, Secret> =
                serde_json::from_str(&text("secrets")?).map_err(DatabaseError::content)?;
            pool.secrets = secrets;
            Ok(Template::Container(pool))
        }
        other => Err(DatabaseError::content(format!("a pool of the kind {other:?}"))),
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
        template: template(row)?,
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
            template: Template::Interpreter(PoolSpecification::named(PoolName::new("p").unwrap())),
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
        assert_eq!((&found[0].template, found[0].created_at), (&resource.template, now));
        store.condemn(resource.name()).unwrap();
        assert!(store.load().unwrap().is_empty());
        assert_eq!(store.condemned().unwrap(), [resource.name().clone()]);
        store.delete(resource.name()).unwrap();
        let store = PoolStore::open(folder.path()).unwrap();
        assert!(store.load().unwrap().is_empty() && store.condemned().unwrap().is_empty());
    }

    #[test]
    fn secrets_of_containers_are_kept() {
        let text = "name = 'app'\nimage = 'registry.example/app:1'\ntarget_port = 80\nsecrets = { token = 's3cret' }\n\
            env = [{ name = 'TOKEN', secret_ref = 'token' }]\n\
            probes = [{ type = 'liveness', tcp_socket = { port = 80 } }]";
        let pool: ContainerPoolSpecification = toml::from_str(text).unwrap();
        assert!(!serde_json::to_string(&pool).unwrap().contains("s3cret"));
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let resource = PoolResource {
            subscription: "S".into(),
            resource_group: "g".into(),
            location: "local".into(),
            tags: BTreeMap::new(),
            identity: Value::Null,
            properties: json!({"containerType": "CustomContainer"}),
            template: Template::Container(pool),
            created_at: now,
            updated_at: now,
        };
        let store = PoolStore::open(folder.path()).unwrap();
        store.put(&resource).unwrap();
        assert_eq!(store.load().unwrap()[0].template, resource.template);
    }

    /// Pools that an earlier build kept are there.
    #[test]
    fn a_database_of_the_first_schema_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let old = database::open(&folder.path().join("pools.db"), Durability::Power, &MIGRATIONS[..1]).unwrap();
        let specification = serde_json::to_string(&PoolSpecification::named(PoolName::new("p").unwrap())).unwrap();
        let values = ["p", "S", "g", "local", "{}", "null", "{}", &specification];
        let insert = "INSERT INTO pool VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, 2)";
        old.execute(insert, database::params_from_iter(values)).unwrap();
        drop(old);
        let found = PoolStore::open(folder.path()).unwrap().load().unwrap();
        assert_eq!(found[0].template, Template::Interpreter(PoolSpecification::named(PoolName::new("p").unwrap())));
    }
}
