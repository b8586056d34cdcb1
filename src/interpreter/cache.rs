//! Where builds are kept: outside any checkout, by recipe hash, so that a second clone, a test run and CI share them.
//!
//! ```text
//! <cache>/interpreters/<name>/<hash>/   module.wasm base.tar packages.json; images beside them
//! <cache>/work/<name>/                  what the recipe keeps between builds (downloads, steps)
//! <cache>/work/shared/                  the same, of what all recipes share (the compiler)
//! <cache>/lock                          held while something is built
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Packages, Recipe};

/// The user's cache of interpreter builds.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A finished build.
#[derive(Debug, Clone)]
pub struct Built {
    folder: PathBuf,
    pub recipe: Recipe,
}

impl Cache {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The build of `recipe`, if there is one.
    pub fn find(&self, recipe: &Recipe) -> Option<Built> {
        let folder = self.folder(recipe);
        folder.join("module.wasm").exists().then(|| Built::at(folder, recipe))
    }

    pub(super) fn folder(&self, recipe: &Recipe) -> PathBuf {
        self.root.join("interpreters").join(&recipe.name).join(&recipe.hash[..16])
    }

    /// The folders of all finished builds of an interpreter, older ones too.
    pub fn builds(&self, interpreter: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join("interpreters").join(interpreter));
        let folders = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        folders.filter(|folder| folder.join("module.wasm").exists()).collect()
    }

    /// What the recipes keep between builds: a folder an interpreter, and one for what they share.
    pub(super) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// Holds the cache against other processes until the file is dropped. `waiting` is called when another has it.
    ///
    /// # Errors
    /// When the cache's folder cannot be made or locked.
    pub fn lock(&self, waiting: impl FnOnce()) -> io::Result<File> {
        fs::create_dir_all(&self.root)?;
        let file = File::options().create(true).truncate(false).write(true).open(self.root.join("lock"))?;
        if file.try_lock().is_err() {
            waiting();
            file.lock()?;
        }
        Ok(file)
    }
}

impl Built {
    pub(super) fn at(folder: PathBuf, recipe: &Recipe) -> Self {
        Self { folder, recipe: recipe.clone() }
    }

    /// The linked reactor, not yet initialised.
    pub fn module(&self) -> PathBuf {
        self.folder.join("module.wasm")
    }

    /// The read-only base layer of a session's files.
    pub fn base(&self) -> PathBuf {
        base_of(&self.folder)
    }

    /// What is installed.
    ///
    /// # Errors
    /// When the build is damaged.
    pub fn packages(&self) -> io::Result<Packages> {
        let text = fs::read(self.folder.join("packages.json"))?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }

    /// Room for what is made from the build.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The base layer of the build in `folder`.
pub fn base_of(folder: &Path) -> PathBuf {
    folder.join("base.tar")
}
