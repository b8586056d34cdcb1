//! The threads that guests run on. The API has its own: a spinning guest must not delay an answer.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Guest threads; cheap to clone. They end with the last clone.
#[derive(Clone, Debug)]
pub struct Workers {
    runtime: Arc<Threads>,
}

#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Workers {
    /// Starts `threads` guest threads. Thousands of guests share them: epochs make each yield after a moment.
    ///
    /// # Errors
    /// When the machine gives no threads.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("guest")
            .enable_time()
            .build()?;
        Ok(Self { runtime: Arc::new(Threads(Some(runtime))) })
    }

    /// Runs `task` on a guest thread. Dropping the handle does not end it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime.0.as_ref().expect("the runtime is there until drop").spawn(task)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Without waiting: the last clone may be dropped on an async thread, where waiting is forbidden.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
