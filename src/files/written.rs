//! A tree's private layer as bytes. Content is told piece by piece to whoever keeps it, and stands in the bytes as the number
//! that it was given; the bytes hold names, sizes and times alone. Reading them back is in `read_back.rs`.

use std::borrow::Cow;
use std::io;

use super::base::BaseLayer;
use super::chunks::{Chunk, Chunks};
use super::layer::{Body, Change, Layer, Node};
use super::{Inode, Tree};
use crate::wire::Writer;

pub(super) const FILE: u8 = 0;
pub(super) const DIRECTORY: u8 = 1;
pub(super) const LINK: u8 = 2;
pub(super) const ZEROS: u8 = 0;
pub(super) const BASE: u8 = 1;
pub(super) const PIECE: u8 = 2;

/// At most 64 KiB of a file's content.
pub struct Piece<'a> {
    chunk: &'a Chunk,
    base: &'a BaseLayer,
}

impl Piece<'_> {
    /// Where it lies, and its length: the same, the same content, for as long as the tree or a fork of it has that content.
    pub fn place(&self) -> (usize, u64) {
        (self.chunk.address(), self.chunk.own_bytes())
    }

    /// # Errors
    /// When it lies on a disk that fails.
    pub fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        match self.chunk {
            Chunk::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
            chunk => chunk.bytes(self.base).map(Cow::Owned),
        }
    }
}

impl Tree {
    /// Writes the private layer down. `keep` is given each piece of content and gives it a number.
    ///
    /// # Errors
    /// What `keep` could not read.
    pub fn write(&self, out: &mut Writer, keep: &mut dyn FnMut(Piece<'_>) -> io::Result<u32>) -> io::Result<()> {
        let layer = self.lock();
        layer.write(out, keep)
    }
}

impl Layer {
    fn write(&self, out: &mut Writer, keep: &mut dyn FnMut(Piece<'_>) -> io::Result<u32>) -> io::Result<()> {
        let (last_inode, last_entry) = self.last_numbers();
        out.u64(last_inode);
        out.u64(last_entry);
        out.u64(self.generation);
        out.count(self.nodes.len());
        for (inode, node) in &self.nodes {
            self.write_node(*inode, node, out, keep)?;
        }
        Ok(())
    }

    fn write_node(
        &self,
        inode: Inode,
        node: &Node,
        out: &mut Writer,
        keep: &mut dyn FnMut(Piece<'_>) -> io::Result<u32>,
    ) -> io::Result<()> {
        let times = node.times;
        for number in [inode.0, node.parent.0, times.accessed, times.modified, times.changed, node.changed] {
            out.u64(number);
        }
        match &node.body {
            Body::File(content) => {
                out.u8(FILE);
                write_content(content, &self.base, out, keep)?;
            }
            Body::Directory(changes) => {
                out.u8(DIRECTORY);
                out.count(changes.len());
                for (name, change) in changes {
                    out.text(name);
                    match change {
                        Change::Gone => out.flag(false),
                        Change::Present { inode, serial } => {
                            out.flag(true);
                            out.u64(inode.0);
                            out.u64(*serial);
                        }
                    }
                }
            }
            Body::Link(target) => {
                out.u8(LINK);
                out.text(target);
            }
        }
        Ok(())
    }
}

fn write_content(
    content: &Chunks,
    base: &BaseLayer,
    out: &mut Writer,
    keep: &mut dyn FnMut(Piece<'_>) -> io::Result<u32>,
) -> io::Result<()> {
    out.u64(content.len());
    out.flag(content.is_pristine());
    out.count(content.chunks().len());
    for chunk in content.chunks() {
        match chunk {
            Chunk::Zeros => out.u8(ZEROS),
            Chunk::Base { offset, len } => {
                out.u8(BASE);
                out.u64(*offset);
                out.u32(*len);
            }
            Chunk::Memory(_) | Chunk::Disk { .. } => {
                out.u8(PIECE);
                out.u32(keep(Piece { chunk, base })?);
            }
        }
    }
    Ok(())
}
