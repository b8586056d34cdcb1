//! The images of the pools: the edition that is there serves at once, and the one that has the most is built behind it and
//! takes over for new sessions.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::thread;

use super::later::Snapshots;
use super::serve::progress;
use crate::config::Settings;
use crate::interpreter::{self, Additions, Built, Cache, Packages, Recipe};
use crate::pool::{Facilities, FindImage, Keeping, Pool, PoolSpecification};
use crate::sandbox::SandboxError;
use crate::sandbox::wasm::{self, Engine, EngineSettings, Image};

pub(super) type Failed = Box<dyn Error + Send + Sync>;

/// Pools that share an engine: the interpreter, the edition that was asked for, what is added to it, and whether they meter
/// fuel.
type Sharing = (String, Option<String>, Additions, bool);

/// The pools, and what is still to be built for some of them.
pub(super) struct Opened {
    pub pools: Vec<Arc<Pool>>,
    cache: Cache,
    upgrades: Vec<Upgrade>,
}

/// An edition that has more than the one its pools began with.
struct Upgrade {
    recipe: Recipe,
    engine: Engine,
    pools: Vec<Arc<Pool>>,
}

/// What a pool's sessions start from.
pub(super) struct Loaded {
    pub image: Arc<Image>,
    pub packages: Arc<Packages>,
}

/// Opens all pools. Builds what is needed for that: of each interpreter the first edition at most.
pub(super) fn open_pools(
    settings: &Settings,
    snapshots: &Snapshots,
    facilities: &Facilities,
) -> Result<Opened, Failed> {
    let mut opened = Opened { pools: Vec::new(), cache: Cache::new(settings.cache_dir.clone()), upgrades: Vec::new() };
    let wants_store = settings.pools.iter().any(PoolSpecification::is_stored);
    let store = wants_store.then(|| snapshots.open()).transpose()?;
    let mut groups: BTreeMap<Sharing, Vec<&PoolSpecification>> = BTreeMap::new();
    for pool in &settings.pools {
        let sharing = (pool.interpreter.clone(), pool.edition.clone(), pool.additions(), pool.limits.fuel.is_some());
        groups.entry(sharing).or_default().push(pool);
    }
    for ((interpreter, edition, additions, metered), specifications) in groups {
        let editions = wanted(Recipe::editions(&interpreter)?, edition.as_deref(), additions)?;
        let engine = Engine::new(engine_settings(&specifications, metered))?;
        let (recipe, loaded) = first(&opened.cache, &engine, &editions)?;
        let find_image = past_images(&opened.cache, &engine, &interpreter);
        let open = |specification: &&PoolSpecification| {
            let (image, packages) = (loaded.image.clone(), loaded.packages.clone());
            let (specification, facilities) = ((*specification).clone(), facilities.clone());
            match store.as_ref().filter(|_| specification.is_stored()) {
                Some(store) => {
                    let keeping = Keeping::new(store.clone(), find_image.clone());
                    Pool::open_kept(specification, image, packages, facilities, keeping)
                }
                None => Ok(Pool::open(specification, image, packages, facilities)),
            }
        };
        let pools: Vec<_> = specifications.iter().map(open).collect::<Result<_, _>>()?;
        opened.pools.extend(pools.iter().cloned());
        if let Some(best) = editions.last().filter(|best| best.hash != recipe.hash) {
            opened.upgrades.push(Upgrade { recipe: best.clone(), engine, pools });
        }
    }
    Ok(opened)
}

/// Finds images of earlier builds, which sessions on disk may need.
pub(super) fn past_images(cache: &Cache, engine: &Engine, interpreter: &str) -> Arc<FindImage> {
    let (cache, engine, interpreter) = (cache.clone(), engine.clone(), interpreter.to_owned());
    Arc::new(move |identity| {
        let failed = |error| SandboxError::new("locking the build cache", error);
        let _lock = cache.lock(|| progress("waiting for another build to finish")).map_err(failed)?;
        wasm::image_called(&engine, identity, &cache.builds(&interpreter), &progress)
    })
}

impl Opened {
    /// Builds the larger editions on a thread of its own, one after the other. It ends with the process.
    pub(super) fn upgrade(self) -> std::io::Result<()> {
        if !self.upgrades.is_empty() {
            let (cache, upgrades) = (self.cache, self.upgrades);
            thread::Builder::new().name("images".into()).spawn(move || {
                for upgrade in upgrades {
                    let title = upgrade.recipe.title();
                    if let Err(error) = upgrade.run(&cache) {
                        tracing::error!(interpreter = title, %error, cause = ?error.source(), "an edition cannot be used");
                        progress(&format!("{title} cannot be used, and the smaller edition goes on serving: {error}"));
                    }
                }
            })?;
        }
        Ok(())
    }
}

impl Upgrade {
    fn run(self, cache: &Cache) -> Result<(), Failed> {
        let loaded = make(cache, &self.engine, &self.recipe)?;
        for pool in &self.pools {
            pool.replace_image(loaded.image.clone(), loaded.packages.clone());
        }
        progress(&format!("new sessions have {} from now on", self.recipe.title()));
        Ok(())
    }
}

/// The edition that was asked for; all of them when none was. With packages of the pool's own it is a single one: they may
/// need what only the largest has.
pub(super) fn wanted(
    mut editions: Vec<Recipe>,
    edition: Option<&str>,
    additions: Additions,
) -> Result<Vec<Recipe>, Failed> {
    if !additions.is_empty() {
        if edition.is_none() {
            editions.drain(..editions.len() - 1);
        }
        editions = editions.into_iter().map(|recipe| recipe.with(additions.clone())).collect::<Result<_, _>>()?;
    }
    let Some(edition) = edition else { return Ok(editions) };
    let known: Vec<_> = editions.iter().filter_map(|recipe| recipe.edition.clone()).collect();
    let found: Vec<_> = editions.into_iter().filter(|recipe| recipe.edition.as_deref() == Some(edition)).collect();
    if found.is_empty() {
        return Err(format!("there is no edition called {edition}; there are: {}", known.join(", ")).into());
    }
    Ok(found)
}

/// The largest edition that is there, else the first one, which is made now.
fn first<'a>(cache: &Cache, engine: &Engine, editions: &'a [Recipe]) -> Result<(&'a Recipe, Loaded), Failed> {
    for recipe in editions.iter().rev() {
        if let Some(built) = cache.find(recipe).filter(|built| wasm::is_made(engine, built)) {
            return Ok((recipe, load(engine, &built)?));
        }
    }
    let recipe = editions.first().expect("an interpreter has an edition");
    Ok((recipe, make(cache, engine, recipe)?))
}

/// Builds an edition and its image, unless they are there.
fn make(cache: &Cache, engine: &Engine, recipe: &Recipe) -> Result<Loaded, Failed> {
    let _lock = cache.lock(|| progress("waiting for another build to finish"))?;
    if cache.find(recipe).is_none() {
        progress(&format!("building the interpreter {}; this takes some minutes, once", recipe.title()));
    }
    load(engine, &interpreter::build(cache, recipe, &progress)?)
}

pub(super) fn load(engine: &Engine, built: &Built) -> Result<Loaded, Failed> {
    Ok(Loaded { image: wasm::image(engine, built, &progress)?, packages: Arc::new(built.packages()?) })
}

pub(super) fn engine_settings(pools: &[&PoolSpecification], metered: bool) -> EngineSettings {
    let none = EngineSettings { slots: 0, memory_bytes: 0, metered };
    pools.iter().fold(none, |engine, pool| EngineSettings {
        slots: engine.slots + u32::try_from(Pool::slots(pool)).unwrap_or(u32::MAX),
        memory_bytes: engine.memory_bytes.max(pool.session_limits().memory_bytes),
        metered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_that_is_not_there_is_told_with_those_that_are() {
        let editions = Recipe::editions("python").unwrap();
        let error = wanted(editions, Some("huge"), Additions::default()).unwrap_err();
        assert!(error.to_string().contains("huge"), "{error}");
    }
}
