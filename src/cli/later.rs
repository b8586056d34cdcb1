//! Pools that are made while the gateway serves, and those that were when it starts again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::images::{self, Failed, Loaded};
use crate::config::Settings;
use crate::gateway::Opener;
use crate::interpreter::{Cache, Recipe};
use crate::pool::{Facilities, Keeping, NotOpened, Pool, PoolName, PoolSpecification};
use crate::sandbox::wasm::Engine;
use crate::snapshot::Seal;
use crate::snapshot::store::{Store, StoreError};

/// The store of snapshots, opened when the first pool wants it. A clone is the same store.
#[derive(Clone)]
pub(super) struct Snapshots {
    folder: PathBuf,
    limit_bytes: Option<u64>,
    seal: Seal,
    open: Arc<Mutex<Option<Arc<Store>>>>,
}

impl Snapshots {
    pub(super) fn new(settings: &Settings, seal: Seal) -> Self {
        let limit_bytes = (settings.snapshots_bytes > 0).then_some(settings.snapshots_bytes);
        Self { folder: settings.data_dir.join("snapshots"), limit_bytes, seal, open: Arc::default() }
    }

    pub(super) fn open(&self) -> Result<Arc<Store>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*open {
            return Ok(store.clone());
        }
        let store = Store::open(&self.folder, self.limit_bytes, self.seal.clone())?;
        Ok(open.insert(store).clone())
    }

    /// The store, if it holds anything.
    fn open_if_made(&self) -> Result<Option<Arc<Store>>, StoreError> {
        if self.folder.exists() { self.open().map(Some) } else { Ok(None) }
    }
}

/// Opens pools with an engine of their own. Nothing is built for them: that takes minutes.
pub(super) struct Later {
    cache: Cache,
    snapshots: Snapshots,
    facilities: Facilities,
}

impl Later {
    pub(super) fn new(settings: &Settings, snapshots: Snapshots, facilities: Facilities) -> Self {
        Self { cache: Cache::new(settings.cache_dir.clone()), snapshots, facilities }
    }

    fn loaded(&self, specification: &PoolSpecification) -> Result<(Engine, Loaded), NotOpened> {
        let unavailable = |reason: String| NotOpened::Unavailable(reason);
        let editions = Recipe::editions(&specification.interpreter).map_err(|error| unavailable(error.to_string()))?;
        let editions = images::wanted(editions, specification.edition.as_deref(), specification.additions())
            .map_err(|error| unavailable(error.to_string()))?;
        let Some(built) = editions.iter().rev().find_map(|recipe| self.cache.find(recipe)) else {
            let name = &specification.interpreter;
            return Err(unavailable(format!(
                "{name} is not built; run `sandpool interpreter build {name}` at the gateway"
            )));
        };
        let settings = images::engine_settings(&[specification], specification.limits.fuel.is_some());
        let engine = Engine::new(settings).map_err(failed)?;
        let loaded = images::load(&engine, &built).map_err(NotOpened::Failed)?;
        Ok((engine, loaded))
    }
}

impl Opener for Later {
    fn open(&self, specification: PoolSpecification, takes_in: bool) -> Result<Arc<Pool>, NotOpened> {
        let (engine, Loaded { image, packages }) = self.loaded(&specification)?;
        let facilities = self.facilities.clone();
        if !specification.is_stored() {
            return Ok(Pool::open(specification, image, packages, facilities));
        }
        let store = self.snapshots.open().map_err(failed)?;
        let keeping = Keeping::new(store, images::past_images(&self.cache, &engine, &specification.interpreter));
        if takes_in {
            Pool::open_kept(specification, image, packages, facilities, keeping).map_err(failed)
        } else {
            Ok(Pool::open_beside(specification, image, packages, facilities, keeping))
        }
    }

    fn clear(&self, name: &PoolName) -> Result<(), NotOpened> {
        match self.snapshots.open_if_made().map_err(failed)? {
            Some(store) => forget(&store, name).map_err(failed),
            None => Ok(()),
        }
    }
}

/// Forgets all sessions of a pool; they are off the disk when this comes back. To be called where one may block.
fn forget(store: &Store, name: &PoolName) -> Result<(), StoreError> {
    let sessions = store.sessions(name.as_str())?;
    let ends = futures_util::future::try_join_all(sessions.iter().map(|session| store.end(&session.key)));
    tokio::runtime::Handle::current().block_on(ends).map(drop)
}

fn failed(error: impl Into<Failed>) -> NotOpened {
    NotOpened::Failed(error.into())
}
