//! The pools of a gateway, which come, change and go while it serves.
//!
//! A change opens a new generation of the pool: new sessions start there, and those of the older ones go on as they were
//! until they end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::runtime::Handle;

use super::containers::{ContainerSessionPool, Containers, Rollout};
use super::{Gateway, SessionPool};
use crate::database::DatabaseError;
use crate::pool::container::{ContainerPool, Reopened};
use crate::pool::{NotOpened, Pool, PoolName, PoolResource, PoolSpecification, PoolStore, Template};
use crate::records::{PoolRecords, Records};
use crate::shutdown::Drain;

/// Opens pools of interpreters while the gateway serves. All of it blocks.
pub trait Opener: Send + Sync {
    /// Opens a pool. With `takes_in` the sessions that the disk has of its name are its own.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self, specification: PoolSpecification, takes_in: bool) -> Result<Arc<Pool>, NotOpened>;

    /// Takes off the disk what sessions of a pool of this name have left there. None of them may be in memory.
    ///
    /// # Errors
    /// When the disk fails.
    fn clear(&self, name: &PoolName) -> Result<(), NotOpened>;
}

/// What is needed to make and keep pools.
pub struct Control {
    pub store: PoolStore,
    pub opener: Box<dyn Opener>,
    /// None: pools of containers are refused.
    pub containers: Option<Containers>,
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
    pub template: Template,
    /// None: it stands in the configuration file.
    pub resource: Option<PoolResource>,
    /// False: it could not be opened when the gateway started.
    pub is_open: bool,
    /// Of pools of containers that are open.
    pub rollout: Option<Rollout>,
}

enum Open {
    Interpreter(SessionPool),
    Containers(ContainerSessionPool),
}

/// The same before it has its place.
enum Opened {
    Interpreter(Arc<Pool>),
    Containers(Reopened),
}

struct Entry {
    open: Option<Open>,
    resource: Option<PoolResource>,
}

pub(super) struct Pools {
    entries: RwLock<BTreeMap<PoolName, Entry>>,
    /// Pools of containers that were deleted, until nothing is left of them.
    leaving: Mutex<Vec<Arc<ContainerPool>>>,
    control: Option<Control>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    drain: Drain,
    records: Records,
}

const NO_CONTAINERS: &str = "this gateway runs no containers; its operator adds [containers] to its configuration";

impl Pools {
    pub fn new(
        configured: Vec<Arc<Pool>>,
        containers: Vec<Reopened>,
        control: Option<Control>,
        records: Records,
    ) -> Self {
        let drain = Drain::default();
        let pools = Self {
            entries: RwLock::default(),
            leaving: Mutex::default(),
            control,
            changing: tokio::sync::Mutex::default(),
            drain,
            records,
        };
        for pool in configured {
            let name = pool.specification().name.clone();
            let open = Some(Open::Interpreter(SessionPool::open(pool, pools.drain.clone())));
            pools.write().insert(name, Entry { open, resource: None });
        }
        containers.into_iter().for_each(|pool| pools.add_containers(pool));
        pools
    }

    /// Adds a pool of the configuration file.
    pub fn add_containers(&self, pool: Reopened) {
        let name = pool.pool.specification().name.clone();
        let open = Some(Open::Containers(ContainerSessionPool::open(pool, self.drain.clone())));
        self.write().insert(name, Entry { open, resource: None });
    }

    /// Opens what the store holds. Blocks. What cannot be opened is shown as failed; the others serve.
    pub fn reopen(&self) -> Result<(), DatabaseError> {
        let Some(control) = &self.control else { return Ok(()) };
        for name in control.store.condemned()? {
            if let Err(error) = self.clear_away(control, &name) {
                tracing::error!(pool = %name, %error, "what a deleted pool has left cannot be cleared away");
            }
        }
        for resource in control.store.load()? {
            let name = resource.name().clone();
            if self.read().contains_key(&name) {
                tracing::warn!(pool = %name, "a stored pool is hidden by one of the configuration file");
                continue;
            }
            let opened = self.open(control, &resource.template, true);
            if let Err(error) = &opened {
                tracing::error!(pool = %name, %error, "a stored pool cannot be opened");
            }
            let open = opened.ok().map(|opened| self.place(None, opened));
            self.write().insert(name, Entry { open, resource: Some(resource) });
        }
        if let Some(containers) = &control.containers {
            // Of pools that are no more.
            Handle::current().block_on(containers.clear());
        }
        Ok(())
    }

    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    pub fn containers(&self) -> Option<&Containers> {
        self.control.as_ref()?.containers.as_ref()
    }

    pub fn find(&self, name: &PoolName) -> Option<SessionPool> {
        match self.read().get(name)?.open.as_ref()? {
            Open::Interpreter(pool) => Some(pool.clone()),
            Open::Containers(_) => None,
        }
    }

    pub fn find_containers(&self, name: &PoolName) -> Option<ContainerSessionPool> {
        match self.read().get(name)?.open.as_ref()? {
            Open::Interpreter(_) => None,
            Open::Containers(pool) => Some(pool.clone()),
        }
    }

    /// Where what happens in the pool of this name is written down, whatever its sessions are.
    pub fn records_of(&self, name: &PoolName) -> Option<PoolRecords> {
        Some(match self.read().get(name)?.open.as_ref()? {
            Open::Interpreter(pool) => pool.records().clone(),
            Open::Containers(pool) => pool.records().clone(),
        })
    }

    pub fn view(&self, name: &PoolName) -> Option<PoolView> {
        self.read().get(name).map(Entry::view)
    }

    pub fn views(&self) -> Vec<PoolView> {
        self.read().values().map(Entry::view).collect()
    }

    /// The pools of interpreters.
    pub fn all(&self) -> Vec<SessionPool> {
        let open = |entry: &Entry| match &entry.open {
            Some(Open::Interpreter(pool)) => Some(pool.clone()),
            Some(Open::Containers(_)) | None => None,
        };
        self.read().values().filter_map(open).collect()
    }

    pub fn all_containers(&self) -> Vec<ContainerSessionPool> {
        let open = |entry: &Entry| match &entry.open {
            Some(Open::Containers(pool)) => Some(pool.clone()),
            Some(Open::Interpreter(_)) | None => None,
        };
        self.read().values().filter_map(open).collect()
    }

    /// Lets go of generations whose last session has ended, and lets those take over that can.
    pub fn move_generations(&self) {
        let moves = |entry: &Entry| match &entry.open {
            Some(Open::Interpreter(open)) => open.older.iter().any(|pool| pool.is_empty()),
            Some(Open::Containers(open)) => open.is_changing(),
            None => false,
        };
        if self.read().values().any(moves) {
            for open in self.write().values_mut().filter_map(|entry| entry.open.as_mut()) {
                match open {
                    Open::Interpreter(open) => {
                        open.older = open.older.iter().filter(|pool| !pool.is_empty()).cloned().collect();
                    }
                    Open::Containers(open) => {
                        open.promote();
                        open.forget_empty();
                    }
                }
            }
        }
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).retain(|pool| !pool.is_empty());
    }

    /// Ends everything; what is to survive is on disk then, or goes on without the gateway.
    pub async fn close(&self) {
        for session_pool in self.all() {
            session_pool.close().await;
        }
        let deleted = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let pools = self.all_containers();
        let served: Vec<_> = pools.iter().flat_map(ContainerSessionPool::generations).collect();
        let outlive = self.containers().is_some_and(|containers| containers.outlive_gateway);
        let served = served.into_iter().map(async |pool| if outlive { pool.leave().await } else { pool.close().await });
        let deleted = deleted.iter().map(|pool| pool.close());
        tokio::join!(futures_util::future::join_all(served), futures_util::future::join_all(deleted));
    }

    /// Blocks. See [`Opener::open`] for `takes_in`.
    fn open(&self, control: &Control, template: &Template, takes_in: bool) -> Result<Opened, NotOpened> {
        match template {
            Template::Interpreter(pool) => {
                if takes_in && !pool.is_stored() {
                    // It may have been before.
                    control.opener.clear(&pool.name)?;
                }
                control.opener.open(pool.clone(), takes_in).map(Opened::Interpreter)
            }
            Template::Container(pool) => {
                let containers = control.containers.as_ref();
                let containers = containers.ok_or(NotOpened::Unavailable(NO_CONTAINERS.into()))?;
                let reopened = containers.reopen(pool.clone(), &self.records);
                Ok(Opened::Containers(Handle::current().block_on(reopened)))
            }
        }
    }

    /// What was just opened, in the place of what was there.
    fn place(&self, before: Option<Open>, opened: Opened) -> Open {
        match (before, opened) {
            (Some(Open::Interpreter(older)), Opened::Interpreter(pool)) => Open::Interpreter(older.succeeded_by(pool)),
            (Some(Open::Containers(older)), Opened::Containers(young)) => {
                Open::Containers(older.succeeded_by(young.pool))
            }
            // Its kind cannot be changed: nothing else was there.
            (_, Opened::Interpreter(pool)) => Open::Interpreter(SessionPool::open(pool, self.drain.clone())),
            (_, Opened::Containers(pool)) => Open::Containers(ContainerSessionPool::open(pool, self.drain.clone())),
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
            if before.is_open && before.template == resource.template {
                // Tags and the like: no session notices.
                control.store.put(&resource)?;
                if let Some(entry) = self.write().get_mut(&name) {
                    entry.resource = Some(resource);
                }
                return Ok(false);
            }
        }
        if before.is_none() && matches!(resource.template, Template::Interpreter(_)) {
            // What an earlier pool of this name may have left is nobody's.
            control.opener.clear(&name)?;
        }
        let takes_in = before.as_ref().is_none_or(|before| !before.is_open);
        let opened = self.open(control, &resource.template, takes_in)?;
        if let Err(error) = control.store.put(&resource) {
            match opened {
                Opened::Interpreter(pool) => drop(pool.workers().clone().spawn(async move { pool.close().await })),
                Opened::Containers(opened) => self.leave([opened.pool]),
            }
            return Err(error.into());
        }
        let mut entries = self.write();
        let before_it = entries.get_mut(&name).and_then(|entry| entry.open.take());
        let open = Some(self.place(before_it, opened));
        entries.insert(name, Entry { open, resource: Some(resource) });
        Ok(before.is_none())
    }

    fn delete(&self, name: &PoolName) -> Result<(), PoolChangeError> {
        let control = self.control.as_ref().ok_or(PoolChangeError::NoControl)?;
        if self.view(name).is_some_and(|view| view.resource.is_none()) {
            return Err(PoolChangeError::Configured);
        }
        control.store.condemn(name)?;
        let gone = self.write().remove(name);
        match gone.and_then(|entry| entry.open) {
            Some(Open::Interpreter(open)) => open.generations().for_each(|pool| pool.discard()),
            Some(Open::Containers(open)) => self.leave(open.generations().cloned()),
            None => {}
        }
        self.clear_away(control, name)
    }

    /// Ends a deletion: nothing is left of the pool. Blocks.
    fn clear_away(&self, control: &Control, name: &PoolName) -> Result<(), PoolChangeError> {
        control.opener.clear(name)?;
        Ok(control.store.delete(name)?)
    }

    /// Ends pools of containers in the background.
    fn leave(&self, pools: impl IntoIterator<Item = Arc<ContainerPool>>) {
        for pool in pools {
            pool.retire();
            self.leaving.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
            tokio::spawn(async move { pool.close().await });
        }
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
        let template = match (&self.open, &self.resource) {
            (Some(Open::Interpreter(open)), _) => Template::Interpreter(open.specification().clone()),
            (Some(Open::Containers(open)), _) => Template::Container(open.specification().clone()),
            (None, Some(resource)) => resource.template.clone(),
            (None, None) => unreachable!("a pool of the configuration file is open"),
        };
        let rollout = match &self.open {
            Some(Open::Containers(open)) => Some(open.rollout()),
            Some(Open::Interpreter(_)) | None => None,
        };
        PoolView { template, resource: self.resource.clone(), is_open: self.open.is_some(), rollout }
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
