//! The root of a container: the image, shared and never written, under a layer of the container's own.
//!
//! All of it is mounted in a mount namespace that is made for the purpose. The runtime starts within it and takes the root
//! along into the container's; so the mounts end with the container, however that ends, and the machine's own table of
//! mounts never shows them.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::thread::UnshareFlags;
use tokio::sync::oneshot;

use super::user::UserRange;
use crate::sandbox::container::ContainerError;
use crate::sandbox::container::image::User;

/// What to mount.
pub(super) struct Rootfs {
    /// The unpacked image.
    pub image: PathBuf,
    /// Folder of the container. The mounts lie in it; its path is ours, so it holds no comma and no colon.
    pub folder: PathBuf,
    /// Most that the container's own layer takes. It lies in memory, so it counts as the container's memory too.
    pub disk_bytes: u64,
    /// A folder to make in it, relative to the root, for a user and group of the container's.
    pub data: Option<(&'static str, User)>,
    /// A control-group file system to hide from the runtime, which would stumble over it.
    pub hidden: Option<&'static str>,
}

impl Rootfs {
    /// Where the root is, for whoever runs in the mount namespace.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// Mounts it with `range`'s numbers for the image's own, and does `within` there, on a thread that ends with it.
    pub(super) async fn mounted<T: Send + 'static>(
        self,
        range: UserRange,
        within: impl FnOnce() -> Result<T, ContainerError> + Send + 'static,
    ) -> Result<(T, UserRange), ContainerError> {
        let (answer, answered) = oneshot::channel();
        let story = move || {
            self.mount(&range).map_err(ContainerError::during("mounting the root of a container"))?;
            Ok((within()?, range))
        };
        let spawned = thread::Builder::new().name("mount".into()).spawn(move || drop(answer.send(story())));
        spawned.map_err(ContainerError::during("starting a thread"))?;
        answered.await.map_err(ContainerError::during("mounting the root of a container"))?
    }

    fn mount(&self, range: &UserRange) -> io::Result<()> {
        // SAFETY: what is unshared are mounts and the working folder, not descriptors; and this thread ends after it.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS)? };
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        if let Some(hidden) = self.hidden {
            rustix::mount::unmount(hidden, UnmountFlags::DETACH)?;
        }
        let [lower, own, root] = ["lower", "own", "rootfs"].map(|name| self.folder.join(name));
        for folder in [&lower, &own, &root] {
            fs::create_dir(folder)?;
        }
        attach(mapped(&self.image, range.namespace())?.as_fd(), &lower)?;
        let size = option(&format!("size={},mode=0711", self.disk_bytes))?;
        rustix::mount::mount("tmpfs", &own, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(size.as_c_str()))?;
        let [upper, work] = ["upper", "work"].map(|name| own.join(name));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        dress_as(&upper, &self.image, range.first())?;
        if let Some((path, user)) = &self.data {
            make_folder(&upper, path, range.first(), *user)?;
        }
        let options = format!("lowerdir={},upperdir={},workdir={}", shown(&lower)?, shown(&upper)?, shown(&work)?);
        let options = option(&options)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        Ok(rustix::mount::mount("overlay", &root, "overlay", flags, Some(options.as_c_str()))?)
    }
}

/// Whether this machine can mount an image with other user numbers.
pub(super) async fn probe(folder: &Path, range: UserRange) -> Result<(), ContainerError> {
    let image = folder.join("image");
    fs::create_dir_all(&image).map_err(ContainerError::during("making a folder"))?;
    let rootfs = Rootfs { image, folder: folder.to_owned(), disk_bytes: 1 << 20, data: None, hidden: None };
    let (path, first) = (rootfs.path(), range.first());
    let looked = rootfs.mounted(range, move || {
        use std::os::unix::fs::MetadataExt;
        let owner = fs::metadata(path).map_err(ContainerError::during("looking at a mounted root"))?.uid();
        if owner == first {
            Ok(())
        } else {
            Err(ContainerError::new("mounting with other user numbers", "they are not"))
        }
    });
    looked.await.map(|_| ())
}

/// The tree at `path`, detached, read-only, with the numbers of `namespace`.
fn mapped(path: &Path, namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, path, flags)?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).expect("a descriptor is not negative"),
    };
    // SAFETY: `attributes` outlives the call and its size is told; the path is empty and static; both descriptors are
    // open.
    let changed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if changed == 0 { Ok(tree) } else { Err(io::Error::last_os_error()) }
}

fn attach(tree: BorrowedFd<'_>, at: &Path) -> io::Result<()> {
    Ok(rustix::mount::move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Gives the container's own layer the mode of the image's root, and its owner, as numbers outside.
fn dress_as(folder: &Path, image: &Path, first: u32) -> io::Result<()> {
    let like = rustix::fs::stat(image)?;
    let folder = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fchown(&folder, Some(Uid::from_raw(first + like.st_uid)), Some(Gid::from_raw(first + like.st_gid)))?;
    Ok(rustix::fs::fchmod(&folder, Mode::from_raw_mode(like.st_mode & 0o7777))?)
}

/// Makes a folder in the container's own layer. Those above it are its root's, unless the image has them: then they are
/// merged, and this layer's word about them counts.
fn make_folder(layer: &Path, path: &str, first: u32, user: User) -> io::Result<()> {
    let mut at = layer.to_owned();
    for name in path.split('/') {
        at.push(name);
        fs::create_dir(&at)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755))?;
        std::os::unix::fs::chown(&at, Some(first), Some(first))?;
    }
    std::os::unix::fs::chown(&at, Some(first + user.uid), Some(first + user.gid))
}

/// A path in an option string, where commas and colons would mean something.
fn shown(path: &Path) -> io::Result<&str> {
    let text = path.to_str().filter(|text| !text.contains([',', ':', '\\']));
    text.ok_or_else(|| io::Error::other(format!("{} cannot stand in a mount option", path.display())))
}

fn option(text: &str) -> io::Result<CString> {
    CString::new(std::ffi::OsStr::new(text).as_bytes()).map_err(io::Error::other)
}
