//! A guest's state between executions, as values: the pages of its memory that differ from the image, what it has open, and
//! its clock. Files are the tree's own to fork.
//!
//! Nothing else is needed: between executions every global rests at its value in the image, and no guest may change its table
//! (interpreters/README.md).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::image::Image;
use super::instance::WasmSandbox;
use super::pages::{self, PAGE_BYTES};
use super::wasi::Descriptors;
use crate::files::Tree;
use crate::sandbox::SandboxError;

/// WebAssembly's page.
pub(super) const GROWTH_BYTES: u64 = 64 << 10;

pub(super) type Page = [u8; PAGE_BYTES];

/// The state of a guest that does not run. Cheap to clone: the pages are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct GuestState {
    /// Size of the linear memory, in bytes.
    pub(super) memory_bytes: u64,
    /// By number: the pages that differ from the image's (from zeros, beyond the image).
    pub(super) pages: Arc<BTreeMap<u32, Arc<Page>>>,
    pub(super) descriptors: Descriptors,
    pub(super) clock: Duration,
}

impl std::fmt::Debug for GuestState {
    /// Without content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GuestState({} pages of {} bytes)", self.pages.len(), self.memory_bytes)
    }
}

impl GuestState {
    /// Bytes of memory that differ from the image.
    pub fn own_bytes(&self) -> u64 {
        (self.pages.len() * PAGE_BYTES) as u64
    }

    /// Whether both have the same memory and the same descriptors open; the clocks may differ.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.memory_bytes == other.memory_bytes && self.pages == other.pages && self.opens_the_same(other)
    }

    /// Whether both have the same descriptors open.
    pub fn opens_the_same(&self, other: &Self) -> bool {
        self.descriptors == other.descriptors
    }

    /// Bytes of memory that are not shared with `other`.
    pub fn bytes_beside(&self, other: &Self) -> u64 {
        let shares =
            |(number, page): &(&u32, &Arc<Page>)| other.pages.get(number).is_some_and(|p| Arc::ptr_eq(p, page));
        (self.pages.iter().filter(|page| !shares(page)).count() * PAGE_BYTES) as u64
    }
}

impl WasmSandbox {
    /// The guest's state now; pages that are as they were in `previous` are shared with it.
    pub fn capture(&self, previous: Option<&GuestState>) -> GuestState {
        self.capture_among(pages::private(self.memory()), previous)
    }

    /// The same by comparing every page: what [`WasmSandbox::capture`] does where the kernel tells nothing.
    pub fn capture_by_comparing(&self, previous: Option<&GuestState>) -> GuestState {
        self.capture_among(None, previous)
    }

    fn capture_among(&self, candidates: Option<Vec<usize>>, previous: Option<&GuestState>) -> GuestState {
        let pages = changed(self.memory(), self.image().pristine(), candidates, previous.map(|p| &*p.pages));
        let (descriptors, clock) = self.wasi().capture();
        GuestState { memory_bytes: self.memory_bytes(), pages: Arc::new(pages), descriptors, clock }
    }

    /// A sandbox that goes on from `state`, which was captured on the same image. `tree` is a fork of the files of that
    /// moment. With `reseed` what is random is seeded anew: for a session that is not the only one to go on from there.
    ///
    /// # Errors
    /// When no sandbox can be made, or `memory_limit_bytes` is less than the state has.
    pub async fn restore(
        image: Arc<Image>,
        tree: Tree,
        memory_limit_bytes: u64,
        state: &GuestState,
        reseed: bool,
    ) -> Result<Self, SandboxError> {
        let mut sandbox = Self::new(image, tree, memory_limit_bytes).await?;
        let more = state.memory_bytes.saturating_sub(sandbox.memory_bytes());
        sandbox.grow(more / GROWTH_BYTES).await?;
        let memory = sandbox.memory_mut();
        pages::populate(memory, &pages::ranges(state.pages.keys().map(|number| *number as usize), 0));
        for (number, page) in state.pages.iter() {
            let at = *number as usize * PAGE_BYTES;
            let place = memory.get_mut(at..at + PAGE_BYTES);
            place
                .ok_or_else(|| SandboxError::new("restoring a session", "a page lies beyond its memory"))?
                .copy_from_slice(&page[..]);
        }
        sandbox.wasi_mut().restore(state.descriptors.clone(), state.clock);
        if reseed {
            sandbox.reseed().await?;
        }
        Ok(sandbox)
    }
}

/// The pages of `memory` that differ from `pristine` (or from zeros where that ends). Only `candidates` are looked at; all
/// where the kernel does not tell which can have changed.
fn changed(
    memory: &[u8],
    pristine: &[u8],
    candidates: Option<Vec<usize>>,
    previous: Option<&BTreeMap<u32, Arc<Page>>>,
) -> BTreeMap<u32, Arc<Page>> {
    let candidates = candidates.unwrap_or_else(|| (0..memory.len() / PAGE_BYTES).collect());
    let different = candidates.into_iter().filter_map(|number| {
        let range = number * PAGE_BYTES..(number + 1) * PAGE_BYTES;
        let now: &Page = memory.get(range.clone())?.try_into().ok()?;
        if now[..] == *pristine.get(range).unwrap_or(&[0; PAGE_BYTES]) {
            return None;
        }
        let number = u32::try_from(number).ok()?;
        let same = previous.and_then(|previous| previous.get(&number)).filter(|page| page[..] == now[..]);
        Some((number, same.cloned().unwrap_or_else(|| Arc::new(*now))))
    });
    different.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_differ_are_kept_and_unchanged_ones_are_shared() {
        let pristine = vec![1; 3 * PAGE_BYTES];
        let mut memory = pristine.clone();
        memory.resize(5 * PAGE_BYTES, 0);
        memory[PAGE_BYTES + 7] = 2;
        memory[4 * PAGE_BYTES] = 3;
        let first = changed(&memory, &pristine, None, None);
        assert_eq!(first.keys().copied().collect::<Vec<_>>(), [1, 4]);
        memory[4 * PAGE_BYTES + 1] = 4;
        memory[PAGE_BYTES + 7] = 1;
        let second = changed(&memory, &pristine, Some(vec![1, 2, 4]), Some(&first));
        assert_eq!(second.keys().copied().collect::<Vec<_>>(), [4]);
        memory[4 * PAGE_BYTES + 1] = 0;
        let third = changed(&memory, &pristine, None, Some(&first));
        assert!(Arc::ptr_eq(&third[&4], &first[&4]));
    }
}
