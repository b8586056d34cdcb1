//! The container side of the seam: one container per session, behind whatever engine the machine has.
//!
//! [`ContainerBackend`] and [`Container`] are all that a pool knows of an engine. What no engine decides stands above:
//! pools, probes, lifecycles, routing. A backend that cannot enforce what a specification asks for refuses to make the
//! container; it never makes a weaker one.
//!
//! | folder or file | holds |
//! |---|---|
//! | `agent/` | what is asked of the gateway's own agent in a container |
//! | `specification.rs`, `report.rs`, `error.rs`, `console.rs` | the values that cross the seam |
//! | `image/` | where images come from, and how they become a folder |
//! | `docker/` | the backend that speaks the Docker Engine API: Docker, Podman |
//! | `runtime/` | the backend that drives an OCI runtime's command line (runc, crun, runsc); it needs no daemon |

pub mod agent;
mod console;
pub mod docker;
mod error;
pub mod image;
mod report;
pub mod runtime;
mod specification;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use console::KEPT_BYTES;
pub use console::{Console, ConsoleLine, Stream, Taken};
pub use error::ContainerError;
pub use image::{AllowedImages, Credentials, Image, ImageFiles, ImageReference, InvalidReference};
pub use report::{BackendReport, Enforced, Exit, Isolation};
pub use specification::{ContainerSpecification, InstanceId, Left, Note, Resources};

use crate::egress::connections::WayOut;

/// A connection into a container.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Answer<'a, T> = BoxFuture<'a, Result<T, ContainerError>>;

/// An engine that runs containers.
pub trait ContainerBackend: Send + Sync {
    /// What the engine is, and what it enforces on this machine. It was found out when the backend was opened.
    fn report(&self) -> &BackendReport;

    /// Why an image cannot be had that this gateway itself has to provide, and what to do about it. None: nothing speaks
    /// against it yet.
    fn lacks(&self, _reference: &ImageReference) -> Option<String> {
        None
    }

    /// Makes an image ready for containers: resolves the tag, fetches and checks what is missing, unpacks it. Done
    /// before, it costs a question to the registry, and nothing for a reference by digest.
    fn prepare_image<'a>(
        &'a self,
        reference: &'a ImageReference,
        credentials: &'a Credentials,
    ) -> Answer<'a, Arc<Image>>;

    /// Makes a container with its limits and its network in place. Its process does not run yet.
    fn create<'a>(
        &'a self,
        specification: &'a ContainerSpecification,
        image: &'a Arc<Image>,
    ) -> Answer<'a, Arc<dyn Container>>;

    /// Whether containers can outlive the gateway, and be adopted by the next one.
    fn outlives(&self) -> bool {
        false
    }

    /// Those containers that an earlier gateway left, and that some pool made a note on. They wait to be adopted, or cleared.
    fn left(&self) -> Vec<Left> {
        Vec::new()
    }

    /// Takes over a container that was left, or one beside such a one. It may have ended meanwhile, which it tells. `way_out` is
    /// where its connections go from now on; it must have one exactly if it was made with one.
    ///
    /// # Errors
    /// When it cannot be taken over; then it was taken away.
    fn adopt<'a>(&'a self, _id: &'a InstanceId, _way_out: Option<Arc<WayOut>>) -> Answer<'a, Arc<dyn Container>> {
        Box::pin(async { Err(ContainerError::Unsupported("containers of this engine end with their gateway".into())) })
    }

    /// Takes away what was left and not adopted; gives how many containers that were. What nobody could adopt went when the backend
    /// was opened.
    fn clear(&self) -> Answer<'_, usize> {
        Box::pin(async { Ok(0) })
    }
}

/// One container. Dropping the last handle destroys it, in the background; [`Container::destroy`] does so in sight.
pub trait Container: Send + Sync {
    fn id(&self) -> &InstanceId;

    /// Makes a further container within this one's network, to be asked before this one has started. Everything else it has
    /// for itself; its way out is this one's.
    ///
    /// # Errors
    /// As [`ContainerBackend::create`] has them; `Unsupported` where the engine cannot.
    fn beside<'a>(
        &'a self,
        _specification: &'a ContainerSpecification,
        _image: &'a Arc<Image>,
    ) -> Answer<'a, Arc<dyn Container>> {
        let problem = "this engine runs one container in a session, and no sidecars";
        Box::pin(async move { Err(ContainerError::Unsupported(problem.into())) })
    }

    /// Runs its process.
    fn start(&self) -> Answer<'_, ()>;

    /// A connection to `port` on the container's loopback, from inside its network: the only way in.
    ///
    /// Errors are the connection's own: refused when nothing listens.
    fn connect(&self, port: u16) -> BoxFuture<'_, std::io::Result<Box<dyn Io>>>;

    /// Stops its processes from being scheduled, or lets them go on. Connections wait meanwhile.
    fn set_frozen(&self, frozen: bool) -> Answer<'_, ()>;

    /// Keeps a note with the container, in the place of the one before, for whoever adopts it: it is written when this comes back.
    /// Nothing where containers do not outlive their gateway.
    fn note<'a>(&'a self, _note: &'a Note) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Leaves it to the next gateway: nothing is read of it any more, its way out is shut until then, and dropping it takes nothing
    /// away. Only where containers outlive their gateway.
    fn leave(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// What it wrote.
    fn console(&self) -> &Console;

    /// How it ended; None as long as it has not.
    fn exit(&self) -> Option<Exit>;

    /// Waits for its end. To be asked by as many as want to know.
    fn exited(&self) -> BoxFuture<'_, Exit>;

    /// Asks its process to end, kills it after `grace`, and waits for its end.
    fn stop(&self, grace: Duration) -> Answer<'_, Exit>;

    /// Kills it and takes away everything that belongs to it. Doing it twice is fine.
    fn destroy(&self) -> Answer<'_, ()>;
}
