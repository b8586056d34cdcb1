//! `sandpool pool list|show|create|update|delete|health`: session pools as resources of a gateway, and how they are.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::client::{self, GatewayAddress, Target};
use super::template::{ContainerSettings, pair};
use super::{Done, health};

#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// List the pools that your key allows to see; those of the configuration file too.
    List(List),
    /// Show a pool as JSON.
    Show(Named),
    /// Make a pool, and print its endpoint.
    Create(Create),
    /// Change a pool. Its sessions go on as they are; new ones start as it is then.
    Update(Update),
    /// Delete a pool, and end its sessions.
    Delete(Named),
    /// Say in words how a pool is; the exit status is 1 when somebody should look.
    Health(health::Health),
}

/// Where pools lie. The names mean nothing to the gateway; clients of the hosted service want them.
#[derive(Debug, Args)]
struct Place {
    #[arg(long, default_value = "local")]
    subscription: String,
    #[arg(long, default_value = "default")]
    resource_group: String,
    #[command(flatten)]
    gateway: GatewayAddress,
}

#[derive(Debug, Args)]
pub struct List {
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[arg(long, default_value = "local")]
    subscription: String,
    #[command(flatten)]
    gateway: GatewayAddress,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The pool.
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub struct Create {
    /// 1 to 63 characters of a-z, 0-9 and -, a letter first.
    name: String,
    /// A folder of interpreters/.
    #[arg(long, default_value = "python")]
    interpreter: String,
    /// Makes it a pool of shells, in containers of --image or the gateway's own image.
    #[arg(long)]
    shell: bool,
    /// An edition of it; by default the one that has the most.
    #[arg(long)]
    edition: Option<String>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub struct Update {
    /// The pool.
    name: String,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    place: Place,
}

/// What can be changed later.
#[derive(Debug, Args)]
struct Settings {
    /// Sessions at once; 10 in a new pool.
    #[arg(long, value_name = "N")]
    max_sessions: Option<u32>,
    /// Prepared sandboxes; 5 in a new pool.
    #[arg(long, value_name = "N")]
    ready_sessions: Option<u32>,
    /// A session ends so long after its last use; 300 in a new pool.
    #[arg(long, value_name = "SECONDS")]
    cooldown_period: Option<u32>,
    /// Whether code may ask the outside.
    #[arg(long, value_name = "STATUS")]
    network_status: Option<NetworkStatus>,
    /// NAME=VALUE; more than one may be given.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = pair)]
    tags: Vec<(String, String)>,
    #[command(flatten)]
    container: Box<ContainerSettings>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NetworkStatus {
    #[value(name = "EgressDisabled")]
    EgressDisabled,
    #[value(name = "EgressEnabled")]
    EgressEnabled,
}

impl PoolCommand {
    pub fn run(self) -> Done {
        match self {
            Self::List(list) => list.run(),
            Self::Show(pool) => {
                println!("{:#}", client::get::<Value>(&pool.place.url(&pool.name))?);
                Ok(ExitCode::SUCCESS)
            }
            Self::Health(health) => health.run(),
            Self::Create(create) => create.run(),
            Self::Update(update) => {
                let lists = update.settings.container.changes_lists();
                let url = update.place.url(&update.name);
                let before = if lists { client::get::<Value>(&url)? } else { Value::Null };
                let body = update.settings.body(&before["properties"])?;
                print_endpoint(&client::patch(&url, body)?)
            }
            Self::Delete(pool) => {
                client::delete(&pool.place.url(&pool.name))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Place {
    fn url(&self, pool: &str) -> Target {
        let (subscription, group) = (client::encode(&self.subscription), client::encode(&self.resource_group));
        let pool = client::encode(pool);
        self.gateway.url(&format!(
            "subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.App/sessionPools/{pool}"
        ))
    }
}

impl Create {
    fn run(self) -> Done {
        let mut body = self.settings.body(&Value::Null)?;
        if self.shell {
            body["properties"]["containerType"] = json!("Shell");
        } else if self.settings.container.has_image() {
            body["properties"]["containerType"] = json!("CustomContainer");
        } else {
            // Others than these two have no type at the hosted service.
            let container_type = if self.interpreter == "javascript" { "NodeLTS" } else { "PythonLTS" };
            body["properties"]["containerType"] = json!(container_type);
            body["properties"]["sandpool"] = json!({ "interpreter": self.interpreter });
            if let Some(edition) = self.edition {
                body["properties"]["sandpool"]["edition"] = json!(edition);
            }
        }
        body["location"] = json!("local");
        print_endpoint(&client::put(&self.place.url(&self.name), body)?)
    }
}

impl Settings {
    /// Only what was given, so that it serves as a change too; `before` are the properties of the pool that is changed.
    fn body(&self, before: &Value) -> Result<Value, Box<dyn std::error::Error>> {
        let mut properties = Map::new();
        let mut scale = Map::new();
        scale.extend(self.max_sessions.map(|most| ("maxConcurrentSessions".to_owned(), json!(most))));
        scale.extend(self.ready_sessions.map(|ready| ("readySessionInstances".to_owned(), json!(ready))));
        if !scale.is_empty() {
            properties.insert("scaleConfiguration".into(), Value::Object(scale));
        }
        if let Some(cooldown) = self.cooldown_period {
            let lifecycle = json!({ "lifecycleType": "Timed", "cooldownPeriodInSeconds": cooldown });
            properties.insert("dynamicPoolConfiguration".into(), json!({ "lifecycleConfiguration": lifecycle }));
        }
        if let Some(status) = self.network_status {
            let status = match status {
                NetworkStatus::EgressDisabled => "EgressDisabled",
                NetworkStatus::EgressEnabled => "EgressEnabled",
            };
            properties.insert("sessionNetworkConfiguration".into(), json!({ "status": status }));
        }
        self.container.add_to(&mut properties, before)?;
        let mut body = json!({ "properties": properties });
        if !self.tags.is_empty() {
            body["tags"] = self.tags.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        }
        Ok(body)
    }
}

fn print_endpoint(pool: &Value) -> Done {
    println!("{}", pool["properties"]["poolManagementEndpoint"].as_str().unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

impl List {
    fn run(self) -> Done {
        let subscription = client::encode(&self.subscription);
        let url = self.gateway.url(&format!("subscriptions/{subscription}/providers/Microsoft.App/sessionPools"));
        let listed: Value = client::get(&url)?;
        if self.json {
            println!("{listed:#}");
            return Ok(ExitCode::SUCCESS);
        }
        println!(
            "{:24}{:16}{:>8}{:>8}{:>10}  {:16}STATE",
            "NAME", "TYPE", "MOST", "READY", "COOLDOWN", "RESOURCE GROUP"
        );
        for pool in listed["value"].as_array().into_iter().flatten() {
            let properties = &pool["properties"];
            let scale = &properties["scaleConfiguration"];
            let lifecycle = &properties["dynamicPoolConfiguration"]["lifecycleConfiguration"];
            let cooldown =
                lifecycle["cooldownPeriodInSeconds"].as_u64().map_or("-".into(), |seconds| seconds.to_string());
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let group = text(&pool["id"]).split('/').nth(4).unwrap_or("-").to_owned();
            println!(
                "{:24}{:16}{:>8}{:>8}{:>10}  {group:16}{}",
                text(&pool["name"]),
                text(&properties["containerType"]),
                scale["maxConcurrentSessions"].to_string(),
                scale["readySessionInstances"].to_string(),
                cooldown,
                text(&properties["provisioningState"]),
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
