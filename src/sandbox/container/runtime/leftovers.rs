//! What a gateway left that was killed: its containers still run. They belong to nobody, so they are ended before new ones
//! are made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::backend::Engine;
use crate::sandbox::container::ContainerError;

/// Takes away all containers of this gateway's folder; gives how many there were.
pub(super) fn clear(engine: &Engine) -> Result<usize, ContainerError> {
    let found = containers(&engine.containers).map_err(ContainerError::during("looking for leftover containers"))?;
    for folder in &found {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let cgroup = format!("{}/{name}", engine.cgroup);
        // First by the kernel's own means: a runtime can fail on records that were half written.
        engine.cgroups.destroy(&cgroup).map_err(ContainerError::during("ending a leftover container"))?;
        engine.runtime.forget(name).map_err(ContainerError::during("removing a leftover container"))?;
        fs::remove_dir_all(folder).map_err(ContainerError::during("removing a leftover container"))?;
    }
    // Groups without a folder, if the folders went (they are in memory) and the groups did not.
    engine.cgroups.destroy(&engine.cgroup).map_err(ContainerError::during("ending leftover containers"))?;
    Ok(found.len())
}

fn containers(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
}
