//! `sandpool top`: the pools as they stand, drawn again and again until Ctrl-C.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;

use super::client::{self, GatewayAddress};
use super::standing::{Standing, Standings, seconds};
use super::{Done, table};

#[derive(Debug, Args)]
pub struct Top {
    #[command(flatten)]
    gateway: GatewayAddress,
    /// Seconds between two drawings.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Draw once and end; so too when it is not on a terminal.
    #[arg(long)]
    once: bool,
}

impl Top {
    pub fn run(self) -> Done {
        let once = self.once || !io::stdout().is_terminal();
        let mut before: Option<(Instant, Vec<Standing>)> = None;
        loop {
            let now = Instant::now();
            let Standings { value } = client::get(&self.gateway.url("pools"))?;
            if !once {
                // Home, and clear what was drawn before.
                print!("\x1b[H\x1b[2J");
            }
            draw(&value, before.as_ref().map(|(at, pools)| (now - *at, pools.as_slice())));
            io::stdout().flush()?;
            if once {
                return Ok(ExitCode::SUCCESS);
            }
            before = Some((now, value));
            sleep(Duration::from_secs(self.every));
        }
    }
}

fn draw(pools: &[Standing], before: Option<(Duration, &[Standing])>) {
    let rate = |pool: &Standing| {
        let (passed, pools) = before?;
        let then = pools.iter().find(|then| then.name == pool.name)?.executions;
        Some(format!("{:.1}", pool.executions.saturating_sub(then) as f64 / passed.as_secs_f64()))
    };
    let row = |pool: &Standing| {
        let sessions = &pool.sessions;
        vec![
            pool.name.clone(),
            format!("{}/{}", sessions.active, pool.max_concurrent_sessions),
            sessions.running.to_string(),
            seconds(sessions.longest_running_seconds),
            sessions.waiting.to_string(),
            format!("{}+{}", sessions.ready, sessions.pending),
            pool.executions.to_string(),
            rate(pool).unwrap_or_else(|| "-".into()),
            pool.rejections.to_string(),
            pool.failed_starts.to_string(),
            seconds(pool.allocation.p50_seconds),
            seconds(pool.allocation.p99_seconds),
            format!("{:.0}", sessions.memory_bytes as f64 / 1e6),
        ]
    };
    let head = [
        "POOL",
        "SESSIONS",
        "RUNNING",
        "LONGEST",
        "WAITING",
        "READY",
        "EXECUTIONS",
        "PER S",
        "REFUSED",
        "FAILED",
        "P50",
        "P99",
        "MB",
    ];
    table::print(&head, &pools.iter().map(row).collect::<Vec<_>>());
}
