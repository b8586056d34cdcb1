//! The pools of a gateway, which come, change and go while it serves.
//!
//! A change opens a new generation of the pool: new sessions start there, and those of the older ones go on as they were
//! until they end.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Gateway, SessionPool};
use crate::database::DatabaseError;
use crate::pool::{NotOpened, Pool, PoolName, PoolResource, PoolSpecification, PoolStore};
use crate::shutdown::Drain;

/// Opens a pool while the gateway serves. Blocks.
pub type Opener = Box<dyn Fn(PoolSpecification) -> Result<Arc<Pool>, NotOpened> + Send + Sync>;

/// What is needed to make and keep pools.
pub struct Control {
    pub store: PoolStore,
    pub opener: Opener,
}

/// Why a pool was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PoolChangeError {
    #[error("pools cannot be made at this gateway")]
    NoControl,
    #[error("this pool is declared in the configuration file of the gateway; change it there")]
    Configured,
    #[error("a pool of this name lies in another resource group")]
    Elsewhere,
    #[error("the gateway is shutting down")]
    Draining,
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the change was lost")]
    Lost,
}

/// A pool as those see it who manage it.
#[derive(Clone)]
pub struct PoolView {
    pub specification: PoolSpecification,
    /// None: it stands in the configuration file.
    pub resource: Option<PoolResource>,
    /// False: it could not be opened when the gateway started.
    pub is_open: bool,
}

struct Entry {
    open: Option<SessionPool>,
    resource: Option<PoolResource>,
}

pub(super) struct Pools {
    entries: RwLock<BTreeMap<PoolName, Entry>>,
    control: Option<Control>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    drain: Drain,
}

impl Pools {
    pub fn new(configured: Vec<Arc<Pool>>, control: Option<Control>, drain: Drain) -> Self {
        let opened = |pool: Arc<Pool>| {
            let name = pool.specification().name.clone();
            (name, Entry { open: Some(SessionPool::open(pool, drain.clone())), resource: None })
        };
        let entries = RwLock::new(configured.into_iter().map(opened).collect());
        Self { entries, control, changing: tokio::sync::Mutex::default(), drain }
    }

    /// Opens what the store holds. Blocks. What cannot be opened is shown as failed; the others serve.
    pub fn reopen(&self) -> Result<(), DatabaseError> {
        let Some(control) = &self.control else { return Ok(()) };
        for resource in control.store.load()? {
            let name = resource.name().clone();
            if self.read().contains_key(&name) {
                tracing::warn!(pool = %name, "a stored pool is hidden by one of the configuration file");
                continue;
            }
            let opened = (control.opener)(resource.specification.clone());
            if let Err(error) = &opened {
                tracing::error!(pool = %name, %error, "a stored pool cannot be opened");
            }
            let open = opened.ok().map(|pool| SessionPool::open(pool, self.drain.clone()));
            self.write().insert(name, Entry { open, resource: Some(resource) });
        }
        Ok(())
    }

    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    pub fn find(&self, name: &PoolName) -> Option<SessionPool> {
        self.read().get(name)?.open.clone()
    }

    pub fn view(&self, name: &PoolName) -> Option<PoolView> {
        self.read().get(name).map(Entry::view)
    }

    pub fn views(&self) -> Vec<PoolView> {
        self.read().values().map(Entry::view).collect()
    }

    pub fn all(&self) -> Vec<SessionPool> {
        self.read().values().filter_map(|entry| entry.open.clone()).collect()
    }

    /// Lets go of generations whose last session has ended.
    pub fn forget_empty_generations(&self) {
        let has_empty = |entry: &Entry| entry.open.iter().any(|open| open.older.iter().any(|pool| pool.is_empty()));
        if self.read().values().any(has_empty) {
            for open in self.write().values_mut().filter_map(|entry| entry.open.as_mut()) {
                open.older = open.older.iter().filter(|pool| !pool.is_empty()).cloned().collect();
            }
        }
    }

    /// Makes a pool, or changes it. True when it was made.
    fn put(&self, resource: PoolResource) -> Result<bool, PoolChangeError> {
        let control = self.control.as_ref().ok_or(PoolChangeError::NoControl)?;
        let name = resource.name().clone();
        let before = self.view(&name);
        if let Some(before) = &before {
            let known = before.resource.as_ref().ok_or(PoolChangeError::Configured)?;
            if !known.is_in(&resource.subscription, Some(&resource.resource_group)) {
                return Err(PoolChangeError::Elsewhere);
            }
            if before.is_open && before.specification == resource.specification {
                // Tags and the like: no session notices.
                control.store.put(&resource)?;
                if let Some(entry) = self.write().get_mut(&name) {
                    entry.resource = Some(resource);
                }
                return Ok(false);
            }
        }
        let pool = (control.opener)(resource.specification.clone())?;
        if let Err(error) = control.store.put(&resource) {
            pool.workers().clone().spawn(async move { pool.close().await });
            return Err(error.into());
        }
        let mut entries = self.write();
        let open = match entries.get_mut(&name).and_then(|entry| entry.open.take()) {
            Some(older) => older.succeeded_by(pool),
            None => SessionPool::open(pool, self.drain.clone()),
        };
        entries.insert(name, Entry { open: Some(open), resource: Some(resource) });
        Ok(before.is_none())
    }

    fn delete(&self, name: &PoolName) -> Result<(), PoolChangeError> {
        let control = self.control.as_ref().ok_or(PoolChangeError::NoControl)?;
        if self.view(name).is_some_and(|view| view.resource.is_none()) {
            return Err(PoolChangeError::Configured);
        }
        control.store.delete(name)?;
        let gone = self.write().remove(name);
        if let Some(open) = gone.and_then(|entry| entry.open) {
            // Nobody waits for the memory.
            let workers = open.pool.workers().clone();
            workers.spawn(async move { open.close().await });
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<PoolName, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<PoolName, Entry>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn view(&self) -> PoolView {
        // What is asked for, where it is not there.
        let specification = match (&self.open, &self.resource) {
            (Some(open), _) => open.specification().clone(),
            (None, Some(resource)) => resource.specification.clone(),
            (None, None) => unreachable!("a pool of the configuration file is open"),
        };
        PoolView { specification, resource: self.resource.clone(), is_open: self.open.is_some() }
    }
}

impl Gateway {
    /// A pool as those see it who manage it.
    pub fn pool_view(&self, name: &PoolName) -> Option<PoolView> {
        self.inner.pools.view(name)
    }

    /// All pools, by name.
    pub fn pool_views(&self) -> Vec<PoolView> {
        self.inner.pools.views()
    }

    /// Makes a pool, or changes it: its sessions go on as they are, new ones start as it is now. True when it was made.
    /// `change` gets the pool as it is once no other change is under way, and says what it is to be. The change goes on
    /// when the caller goes away.
    ///
    /// # Errors
    /// What `change` says, or see [`PoolChangeError`].
    pub async fn put_pool<E: From<PoolChangeError> + Send + 'static>(
        &self,
        name: PoolName,
        change: impl FnOnce(Option<PoolView>) -> Result<PoolResource, E> + Send + 'static,
    ) -> Result<bool, E> {
        self.change(move |pools| pools.put(change(pools.view(&name))?).map_err(E::from)).await
    }

    /// Deletes a pool and ends its sessions. `may` looks at it first.
    ///
    /// # Errors
    /// What `may` says, or see [`PoolChangeError`].
    pub async fn delete_pool<E: From<PoolChangeError> + Send + 'static>(
        &self,
        name: PoolName,
        may: impl FnOnce(Option<PoolView>) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        self.change(move |pools| {
            may(pools.view(&name))?;
            pools.delete(&name).map_err(E::from)
        })
        .await
    }

    async fn change<T: Send + 'static, E: From<PoolChangeError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Pools) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let under_way = self.inner.drain.begin().ok_or(PoolChangeError::Draining)?;
        let inner = self.inner.clone();
        let changed = tokio::spawn(async move {
            let _under_way = under_way;
            let alone = inner.clone();
            let _one = alone.pools.changing.lock().await;
            tokio::task::spawn_blocking(move || work(&inner.pools)).await
        });
        match changed.await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => Err(PoolChangeError::Lost.into()),
        }
    }
}
