//! The options of `sandpool pool create|update` that describe a pool of containers.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
pub(super) struct ContainerSettings {
    /// Makes it a pool of containers of this image, in a registry.
    #[arg(long)]
    image: Option<String>,
    /// Where the container listens.
    #[arg(long, value_name = "PORT")]
    target_port: Option<u16>,
    /// A word of the command instead of the image's own; more than one may be given.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    command: Vec<String>,
    /// An argument of it; more than one may be given.
    #[arg(long = "arg", value_name = "WORD", allow_hyphen_values = true)]
    args: Vec<String>,
    /// NAME=VALUE, or NAME=secretref:SECRET; more than one may be given. Those that are there stay.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// NAME=VALUE, or NAME=@FILE; more than one may be given. Those that are there stay.
    #[arg(long = "secret", value_name = "NAME=VALUE", value_parser = pair)]
    secrets: Vec<(String, String)>,
    /// Processors of a session, such as 0.5.
    #[arg(long)]
    cpu: Option<f64>,
    /// Memory of a session, such as 1Gi.
    #[arg(long)]
    memory: Option<String>,
    #[arg(long, value_name = "NAME", requires = "registry_password_secret")]
    registry_username: Option<String>,
    /// The secret that holds the password.
    #[arg(long, value_name = "SECRET", requires = "registry_username")]
    registry_password_secret: Option<String>,
    /// A session ends with its container, and so long after it began at the latest.
    #[arg(long, value_name = "SECONDS", conflicts_with = "cooldown_period")]
    max_alive_period: Option<u32>,
    /// A file with probes, in JSON: [{"type": "Liveness", "httpGet": {"port": 8080, "path": "/health"}}].
    #[arg(long, value_name = "FILE")]
    probes: Option<PathBuf>,
}

/// `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("it must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl ContainerSettings {
    /// Whether a new pool is one of containers.
    pub(super) fn has_image(&self) -> bool {
        self.image.is_some()
    }

    /// Whether a change needs to know what is there: lists are replaced as a whole.
    pub(super) fn changes_lists(&self) -> bool {
        !self.secrets.is_empty() || self.changes_container()
    }

    fn changes_container(&self) -> bool {
        let lists = [&self.command, &self.args].iter().any(|list| !list.is_empty()) || !self.env.is_empty();
        lists || self.image.is_some() || self.cpu.is_some() || self.memory.is_some() || self.probes.is_some()
    }

    /// Adds what was given to the properties of a request; `before` are those of the pool that is changed.
    pub(super) fn add_to(&self, properties: &mut Map<String, Value>, before: &Value) -> Result<(), Box<dyn Error>> {
        let mut template = Map::new();
        if self.changes_container() {
            let container = self.container(&before["customContainerTemplate"]["containers"][0])?;
            template.insert("containers".into(), json!([container]));
        }
        if let Some(port) = self.target_port {
            template.insert("ingress".into(), json!({ "targetPort": port }));
        }
        if let (Some(username), Some(secret)) = (&self.registry_username, &self.registry_password_secret) {
            template.insert("registryCredentials".into(), json!({ "username": username, "passwordSecretRef": secret }));
        }
        if !template.is_empty() {
            properties.insert("customContainerTemplate".into(), Value::Object(template));
        }
        if !self.secrets.is_empty() {
            properties.insert("secrets".into(), self.all_secrets(&before["secrets"])?);
        }
        if let Some(seconds) = self.max_alive_period {
            let lifecycle = json!({ "lifecycleType": "OnContainerExit", "maxAlivePeriodInSeconds": seconds });
            properties.insert("dynamicPoolConfiguration".into(), json!({ "lifecycleConfiguration": lifecycle }));
        }
        Ok(())
    }

    fn container(&self, before: &Value) -> Result<Value, Box<dyn Error>> {
        let mut container = before.as_object().cloned().unwrap_or_default();
        if let Some(image) = &self.image {
            container.insert("image".into(), json!(image));
        }
        for (name, words) in [("command", &self.command), ("args", &self.args)] {
            if !words.is_empty() {
                container.insert(name.into(), json!(words));
            }
        }
        if !self.env.is_empty() {
            let variable = |(name, value): &(String, String)| match value.strip_prefix("secretref:") {
                Some(secret) => json!({ "name": name, "secretRef": secret }),
                None => json!({ "name": name, "value": value }),
            };
            let given: Vec<_> = self.env.iter().map(variable).collect();
            container.insert("env".into(), over(&before["env"], given));
        }
        let mut resources = before["resources"].as_object().cloned().unwrap_or_default();
        resources.extend(self.cpu.map(|cpu| ("cpu".to_owned(), json!(cpu))));
        resources.extend(self.memory.as_ref().map(|memory| ("memory".to_owned(), json!(memory))));
        if !resources.is_empty() {
            container.insert("resources".into(), Value::Object(resources));
        }
        if let Some(file) = &self.probes {
            let probes: Vec<Value> = serde_json::from_str(&fs::read_to_string(file)?)?;
            container.insert("probes".into(), json!(probes));
        }
        Ok(Value::Object(container))
    }

    fn all_secrets(&self, before: &Value) -> Result<Value, Box<dyn Error>> {
        let mut given = Vec::new();
        for (name, value) in &self.secrets {
            let value = match value.strip_prefix('@') {
                Some(file) => fs::read_to_string(file)?.trim_end_matches('\n').to_owned(),
                None => value.clone(),
            };
            given.push(json!({ "name": name, "value": value }));
        }
        Ok(over(before, given))
    }
}

/// The items of `before` whose names are not among those of `given`, and these.
fn over(before: &Value, given: Vec<Value>) -> Value {
    let stays = |item: &&Value| given.iter().all(|new| new["name"] != item["name"]);
    let before: Vec<_> = before.as_array().into_iter().flatten().filter(stays).cloned().collect();
    Value::Array(before.into_iter().chain(given).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        settings: ContainerSettings,
        #[arg(long)]
        cooldown_period: Option<u32>,
    }

    fn properties(arguments: &[&str], before: &Value) -> Value {
        let command = Command::parse_from([&["pool"], arguments].concat());
        let mut properties = Map::new();
        command.settings.add_to(&mut properties, before).unwrap();
        Value::Object(properties)
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let before = json!({
            "secrets": [{"name": "a"}, {"name": "b"}],
            "customContainerTemplate": {"containers": [{"name": "main", "image": "app:1", "resources": {"cpu": 1},
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]},
        });
        let changed = properties(
            &["--image", "app:2", "--memory", "1Gi", "--env", "B=secretref:b", "--env", "C=3", "--secret", "b=x"],
            &before,
        );
        assert_eq!(changed["secrets"], json!([{"name": "a"}, {"name": "b", "value": "x"}]));
        let container = json!({"name": "main", "image": "app:2", "resources": {"cpu": 1, "memory": "1Gi"},
            "env": [{"name": "A", "value": "1"}, {"name": "B", "secretRef": "b"}, {"name": "C", "value": "3"}]});
        assert_eq!(changed["customContainerTemplate"], json!({"containers": [container]}));
    }

    #[test]
    fn what_is_not_given_is_not_sent() {
        assert_eq!(properties(&[], &Value::Null), json!({}));
        let port = properties(&["--target-port", "80"], &Value::Null);
        assert_eq!(port, json!({"customContainerTemplate": {"ingress": {"targetPort": 80}}}));
    }
}
