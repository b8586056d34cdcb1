//! The recipes, as embedded in the binary by `interpreters/embed.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Additions;

include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// What the recipes have in common; each finds it beside its own folder.
const SHARED: &str = "shared";

/// What only the editions after the first have.
const PACKAGES: &str = "packages";

/// The recipe of one edition of an interpreter.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub name: String,
    /// None where the interpreter comes in one edition.
    pub edition: Option<String>,
    pub manifest: Manifest,
    /// What one pool wants beyond the edition.
    pub additions: Additions,
    /// Names the recipe's content: SHA-256, hexadecimal, of its files and of the shared ones.
    pub hash: String,
}

/// The part of `manifest.toml` that the gateway reads; the rest is the recipe's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    pub name: String,
    pub language: String,
    pub version: String,
    /// From the one that is built first to the one that has the most. Empty: there is one, without a name.
    #[serde(default)]
    pub editions: Vec<String>,
    /// Whether pools may add packages.
    #[serde(default)]
    pub takes_packages: bool,
    /// The guest's environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no interpreter called {name}; there are: {}", known.join(", "))]
pub struct UnknownInterpreter {
    pub name: String,
    pub known: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the interpreter {name} takes no packages of a pool's own")]
pub struct TakesNoPackages {
    pub name: String,
}

impl Recipe {
    /// The interpreters that this binary can build.
    pub fn names() -> Vec<String> {
        let folders = FILES.iter().filter_map(|(path, _)| path.strip_suffix("/manifest.toml"));
        folders.filter(|folder| !folder.contains('/')).map(str::to_owned).collect()
    }

    /// The editions of the interpreter called `name`: the one that is built first comes first, and the one that has the
    /// most comes last.
    ///
    /// # Errors
    /// When this binary has no such interpreter.
    pub fn editions(name: &str) -> Result<Vec<Self>, UnknownInterpreter> {
        let unknown = || UnknownInterpreter { name: name.to_owned(), known: Self::names() };
        let path = format!("{name}/manifest.toml");
        let (_, manifest) = FILES.iter().find(|(of, _)| *of == path).ok_or_else(unknown)?;
        let manifest = std::str::from_utf8(manifest).ok().and_then(|text| toml::from_str(text).ok());
        let manifest: Manifest = manifest.expect("the manifest is in the binary, and a test reads all of them");
        let recipe = |edition: Option<&String>, first: bool| Self {
            name: name.to_owned(),
            edition: edition.cloned(),
            manifest: manifest.clone(),
            additions: Additions::default(),
            hash: hash(name, edition, first),
        };
        let mut editions: Vec<_> =
            manifest.editions.iter().enumerate().map(|(at, edition)| recipe(Some(edition), at == 0)).collect();
        if editions.is_empty() {
            editions.push(recipe(None, false));
        }
        Ok(editions)
    }

    /// The first edition of the interpreter called `name`.
    ///
    /// # Errors
    /// When this binary has no such interpreter.
    pub fn named(name: &str) -> Result<Self, UnknownInterpreter> {
        Self::editions(name).map(|mut editions| editions.swap_remove(0))
    }

    /// The same with what a pool adds: another build, from the same work.
    ///
    /// # Errors
    /// When the interpreter takes none.
    pub fn with(mut self, additions: Additions) -> Result<Self, TakesNoPackages> {
        if additions.is_empty() {
            return Ok(self);
        }
        if !self.manifest.takes_packages {
            return Err(TakesNoPackages { name: self.name });
        }
        let mut hasher = Sha256::new();
        hasher.update(&self.hash);
        additions.add_to(&mut hasher);
        self.hash = hexadecimal(hasher);
        self.additions = additions;
        Ok(self)
    }

    /// `python`, or `python (full)`.
    pub fn title(&self) -> String {
        let own = if self.additions.is_empty() { "" } else { ", with packages of the pool" };
        match &self.edition {
            Some(edition) => format!("{} ({edition}{own})", self.name),
            None => self.name.clone(),
        }
    }

    /// Writes the recipe's files below `folder`, and the shared ones beside them: `<name>/recipe.py` is the program.
    ///
    /// # Errors
    /// When the file system does not take them.
    pub fn unpack(&self, folder: &Path) -> io::Result<()> {
        for (path, content) in files_for(&self.name) {
            let to = folder.join(path);
            fs::create_dir_all(to.parent().expect("it lies below the folder"))?;
            fs::write(to, content)?;
        }
        Ok(())
    }
}

/// The files of one interpreter and the shared ones, by path below `interpreters/`.
fn files_for(interpreter: &str) -> impl Iterator<Item = &'static (&'static str, &'static [u8])> {
    FILES.iter().filter(move |(path, _)| path.split('/').next().is_some_and(|top| top == interpreter || top == SHARED))
}

/// The first edition leaves out the packages: a change of theirs does not build it anew.
fn hash(interpreter: &str, edition: Option<&String>, first: bool) -> String {
    let packages = format!("{interpreter}/{PACKAGES}/");
    // What is only read by tests does not change what is built.
    let beside = |path: &str| path.contains("/tests/") || (first && path.starts_with(&packages));
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(edition.map_or(b"", |edition| edition.as_bytes()));
    for (path, content) in files_for(interpreter).filter(|(path, _)| !beside(path)) {
        add(path.as_bytes());
        add(content);
    }
    hexadecimal(hasher)
}

fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_has_a_sound_manifest() {
        assert!(Recipe::names().contains(&"python".to_owned()));
        assert!(!Recipe::names().contains(&SHARED.to_owned()));
        for name in Recipe::names() {
            let editions = Recipe::editions(&name).unwrap();
            assert_eq!(editions[0].manifest.name, name);
            assert!(editions.iter().all(|recipe| recipe.hash.len() == 64));
            let hashes: std::collections::BTreeSet<_> = editions.iter().map(|recipe| &recipe.hash).collect();
            assert_eq!(hashes.len(), editions.len());
        }
    }

    #[test]
    fn additions_make_another_build() {
        let python = || Recipe::named("python").unwrap();
        let with = |packages: &[&str], preload: Option<&str>| {
            let packages = packages.iter().map(|&name| name.to_owned()).collect();
            python().with(Additions { packages, preload: preload.map(str::to_owned) }).unwrap().hash
        };
        let hashes =
            [python().hash, with(&["a"], None), with(&["b"], None), with(&[], Some("a")), with(&["a"], Some(""))];
        let different: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len() - 1, "no code is the same as empty code");
        assert_eq!(with(&[], None), python().hash);
        let sql = Recipe::named("sqlite").unwrap();
        assert!(sql.with(Additions { packages: vec!["a".into()], preload: None }).is_err());
    }

    #[test]
    fn an_unknown_interpreter_is_told_with_the_known_ones() {
        let error = Recipe::named("cobol").unwrap_err();
        assert!(error.to_string().contains("python"), "{error}");
    }
}
