//! What an earlier gateway left: containers whose sessions can go on, and what is to be taken away.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::backend::Engine;
use super::cgroup::Cgroups;
use super::command::Runtime;
use super::shim::Link;
use super::state::State;
use super::user::UserRange;
use crate::sandbox::container::{ContainerError, InstanceId};

/// A container that can be adopted. Its user numbers are taken: nobody else gets them meanwhile.
pub(super) struct Leftover {
    pub state: State,
    pub range: UserRange,
}

/// The containers that can be adopted. Everything else that there is, is taken away.
pub(super) fn find(engine: &Engine) -> Result<BTreeMap<InstanceId, Leftover>, ContainerError> {
    let doing = "looking for leftover containers";
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&engine.containers).map_err(ContainerError::during(doing))? {
        let path = entry.map_err(ContainerError::during(doing))?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()).and_then(InstanceId::parse) else {
            fs::remove_dir_all(&path).map_err(ContainerError::during("removing what is no container"))?;
            continue;
        };
        match leftover(engine, &path) {
            Ok(leftover) => drop(found.insert(id, leftover)),
            Err(error) => {
                tracing::warn!(%error, "a container that an earlier gateway left cannot be taken over: it is taken away");
                clear(engine, &id)?;
            }
        }
    }
    // Groups without a folder, if the folders went (they are in memory) and the groups did not.
    let known = |name: &str| InstanceId::parse(name).is_some_and(|id| found.contains_key(&id));
    for name in engine.cgroups.below(&engine.cgroup).into_iter().filter(|name| !known(name)) {
        let group = format!("{}/{name}", engine.cgroup);
        engine.cgroups.destroy(&group).map_err(ContainerError::during("ending leftover containers"))?;
    }
    Ok(found)
}

fn leftover(engine: &Engine, folder: &Path) -> io::Result<Leftover> {
    let state = State::read(folder)?;
    if state.note.is_none() && state.beside.is_none() {
        return Err(io::Error::other("it was not ready for anybody yet"));
    }
    // Its walls are those of its runtime, and an operator who chose another one wants other walls.
    if state.runtime.engine != engine.runtime.engine {
        return Err(io::Error::other("it is another runtime's"));
    }
    let range = engine.ranges.claim(state.first_uid)?;
    Ok(Leftover { state, range })
}

/// Takes away a container that nobody adopted.
pub(super) fn clear(engine: &Engine, id: &InstanceId) -> Result<(), ContainerError> {
    let folder = engine.containers.join(id.as_str());
    let doing = "ending a leftover container";
    // It would not die before its container, which it could still write for.
    let shim = Link::open(&folder).ok();
    let cgroup = format!("{}/{id}", engine.cgroup);
    let gone = take_away(&engine.cgroups, &cgroup, &engine.runtime, id);
    if let Some((link, _)) = shim {
        link.end();
    }
    gone.map_err(ContainerError::during(doing))?;
    absent(fs::remove_dir_all(folder)).map_err(ContainerError::during(doing))
}

/// Ends a container by the kernel's own means: a runtime can fail on records that were half written. Its folder stays.
pub(super) fn take_away(cgroups: &Cgroups, cgroup: &str, runtime: &Runtime, id: &InstanceId) -> io::Result<()> {
    cgroups.destroy(cgroup)?;
    absent(runtime.forget(id.as_str()))
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
