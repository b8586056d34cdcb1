//! `sandpool key create|list|rotate|revoke`. With `--local`, `create` works on the data directory itself: that is how the
//! first key of a gateway is made that nobody may reach without one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::Done;
use super::client::{self, GatewayAddress};
use crate::access::keys::{Keys, NewKey};
use crate::access::{self, Grant, Pools};
use crate::config::{self, Settings};

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it. It is not shown again.
    Create(Create),
    /// List the keys that yours could have made.
    List(List),
    /// Replace a key by one like it, which is printed; the old one goes on for the overlap.
    Rotate(Rotate),
    /// End a key now.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub struct Create {
    /// What it is for.
    #[arg(long)]
    name: String,
    /// What its holder may do; more than one may be given.
    #[arg(long = "role", value_name = "ROLE", default_value = "executor")]
    roles: Vec<Role>,
    /// A pool that it is for; more than one may be given.
    #[arg(long = "pool", value_name = "POOL", required_unless_present = "all_pools", conflicts_with = "all_pools")]
    pools: Vec<String>,
    /// It is for all pools, later ones too.
    #[arg(long)]
    all_pools: bool,
    /// Whom its use is counted for.
    #[arg(long)]
    tenant: Option<String>,
    /// It ends so many days from now; by default it does not.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=36_500))]
    expires_in_days: Option<i64>,
    /// Write into the data directory of this machine, instead of asking a gateway. A gateway that runs notices within a second.
    #[arg(long)]
    local: bool,
    /// The configuration file that says where the data directory is (with --local).
    #[arg(long, value_name = "FILE", env = "SANDPOOL_CONFIG", requires = "local")]
    config: Option<PathBuf>,
    /// The data directory (with --local).
    #[arg(long, value_name = "DIR", requires = "local")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    gateway: GatewayAddress,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Runs code.
    Executor,
    /// Makes and changes pools, and hands out keys that can do no more than its own.
    Contributor,
    /// Looks.
    Reader,
}

#[derive(Debug, Args)]
pub struct List {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: GatewayAddress,
}

#[derive(Debug, Args)]
pub struct Rotate {
    /// The key's id.
    id: String,
    /// How long the old key goes on.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    overlap: u64,
    #[command(flatten)]
    gateway: GatewayAddress,
}

#[derive(Debug, Args)]
pub struct Revoke {
    /// The key's id.
    id: String,
    #[command(flatten)]
    gateway: GatewayAddress,
}

#[derive(Debug, Deserialize)]
struct Made {
    key: String,
}

impl KeyCommand {
    pub fn run(self) -> Done {
        match self {
            Self::Create(create) => create.run(),
            Self::List(list) => list.run(),
            Self::Rotate(rotate) => {
                let url = rotate.gateway.url(&format!("keys/{}/rotate", client::encode(&rotate.id)));
                print(client::post(&url, json!({ "overlapSeconds": rotate.overlap }))?)
            }
            Self::Revoke(revoke) => {
                client::delete(&revoke.gateway.url(&format!("keys/{}", client::encode(&revoke.id))))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn print(made: Made) -> Done {
    println!("{}", made.key);
    Ok(ExitCode::SUCCESS)
}

impl Create {
    fn run(self) -> Done {
        if self.local {
            return self.locally();
        }
        let body = json!({
            "name": self.name,
            "roles": self.roles.iter().map(|role| role.text()).collect::<Vec<_>>(),
            "pools": self.pools(),
            "tenant": self.tenant,
            "expiresInSeconds": self.expires_in_days.map(|days| days * 86_400),
        });
        print(client::post(&self.gateway.url("keys"), body)?)
    }

    fn pools(&self) -> Vec<String> {
        if self.all_pools { vec!["*".into()] } else { self.pools.clone() }
    }

    fn locally(self) -> Done {
        let configured = self.config.as_deref().map(Settings::read).transpose()?.map(|settings| settings.data_dir);
        let data_dir = self.data_dir.clone().or(configured).unwrap_or_else(config::default_data_dir);
        let roles: BTreeSet<_> = self.roles.iter().map(|role| role.granted()).collect();
        let grant = Grant { roles, pools: Pools::try_from(self.pools())? };
        let expires_at = self.expires_in_days.map(|days| OffsetDateTime::now_utc() + Duration::days(days));
        let new = NewKey { name: self.name, grant, tenant: self.tenant, expires_at };
        let (key, _) = Keys::open(&data_dir)?.create(new)?;
        print(Made { key: key.reveal() })
    }
}

impl Role {
    fn text(self) -> &'static str {
        match self {
            Self::Executor => "executor",
            Self::Contributor => "contributor",
            Self::Reader => "reader",
        }
    }

    fn granted(self) -> access::Role {
        match self {
            Self::Executor => access::Role::Executor,
            Self::Contributor => access::Role::Contributor,
            Self::Reader => access::Role::Reader,
        }
    }
}

impl List {
    fn run(self) -> Done {
        let listed: Value = client::get(&self.gateway.url("keys"))?;
        if self.json {
            println!("{listed:#}");
            return Ok(ExitCode::SUCCESS);
        }
        println!("{:18}{:8}{:24}{:26}{:22}EXPIRES", "ID", "ACTIVE", "NAME", "ROLES", "POOLS");
        for key in listed["value"].as_array().into_iter().flatten() {
            let text = |name: &str| key[name].as_str().unwrap_or("-").to_owned();
            let list = |name: &str| {
                let items = key[name].as_array().into_iter().flatten().filter_map(Value::as_str);
                items.collect::<Vec<_>>().join(",")
            };
            let active = if key["active"] == true { "yes" } else { "no" };
            let expires = key["expiresAt"].as_str().and_then(|at| at.get(..19)).unwrap_or("never");
            let (roles, pools) = (list("roles"), list("pools"));
            println!("{:18}{active:8}{:24}{roles:26}{pools:22}{expires}", text("id"), text("name"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
