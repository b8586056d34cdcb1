//! `sandpool metrics`: what a gateway counts and measures, in the text format of Prometheus.

use std::process::ExitCode;

use clap::Args;

use super::Done;
use super::client::{self, GatewayAddress};

#[derive(Debug, Args)]
pub struct Metrics {
    /// Only series that hold this text, such as a pool's name.
    text: Option<String>,
    #[command(flatten)]
    gateway: GatewayAddress,
}

impl Metrics {
    pub fn run(self) -> Done {
        let page = String::from_utf8(client::get_bytes(&self.gateway.url("metrics"))?)?;
        let shown =
            |line: &&str| self.text.as_ref().is_none_or(|text| !line.starts_with('#') && line.contains(text.as_str()));
        page.lines().filter(shown).for_each(|line| println!("{line}"));
        Ok(ExitCode::SUCCESS)
    }
}
