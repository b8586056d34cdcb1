//! A pool's properties: checked, completed with defaults, and translated into a specification.
//!
//! What the hosted service has is read in its places, older ones too. What only Sandpool has stands under
//! `properties.sandpool`, with the names of the configuration file's `[[pool]]`.

use serde_json::{Map, Value, json};

use crate::gateway::Containers;
use crate::pool::{PoolName, PoolSpecification, Template};

/// The command line of the hosted service has these.
const MAX_SESSIONS: u64 = 10;
const READY_SESSIONS: u64 = 5;
const COOLDOWN_SECONDS: u64 = 300;
const MAX_ALIVE_SECONDS: u64 = 3600;

/// Something wrong with the properties: where (a JSON pointer), and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Problem {
    pub pointer: String,
    pub problem: String,
}

/// The properties as they are kept, and what they mean. `before` is what was kept: secrets that come without a value
/// keep theirs. `containers`: what runs containers here.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn read(
    name: &PoolName,
    before: Option<&Value>,
    properties: &Value,
    containers: Option<&Containers>,
) -> Result<(Value, Template), Vec<Problem>> {
    let mut reading = Reading { properties, problems: Vec::new() };
    let kept = reading.kept(before);
    let template = match (kept["containerType"].as_str(), containers) {
        (Some(CUSTOM | SHELL), Some(here)) => reading.container_pool(name, &kept, here).map(Template::Container),
        (Some(CUSTOM | SHELL), None) => {
            reading.wrong("containerType", NO_CONTAINERS);
            None
        }
        _ => reading.interpreter_pool(name, &kept).map(Template::Interpreter),
    };
    match template {
        Some(template) if reading.problems.is_empty() => Ok((kept, template)),
        _ => Err(reading.problems),
    }
}

const NO_CONTAINERS: &str = "cannot be served: this gateway runs no containers; its operator installs runc \
    (apt-get install runc) and adds [containers] to the configuration";

pub(super) struct Reading<'a> {
    properties: &'a Value,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    pub(super) fn wrong(&mut self, pointer: &str, problem: impl Into<String>) {
        self.problems.push(Problem { pointer: format!("/properties/{pointer}"), problem: problem.into() });
    }

    /// What else stands there would be left out in silence.
    pub(super) fn only(&mut self, at: &str, value: &Value, known: &[&str]) {
        for (name, value) in value.as_object().into_iter().flatten() {
            if !known.contains(&name.as_str()) && !value.is_null() {
                self.wrong(&format!("{at}/{name}"), format!("is not known here; there are: {}", known.join(", ")));
            }
        }
    }

    /// The known properties, complete.
    fn kept(&mut self, before: Option<&Value>) -> Value {
        let given = self.properties;
        let mut kept = Map::new();
        kept.insert("containerType".into(), json!(self.container_type(before)));
        kept.insert("poolManagementType".into(), json!("Dynamic"));
        if given["poolManagementType"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("Dynamic")) {
            self.wrong("poolManagementType", "must be Dynamic");
        }
        kept.insert("scaleConfiguration".into(), self.scale());
        kept.insert("dynamicPoolConfiguration".into(), self.lifecycle());
        let status = given["sessionNetworkConfiguration"]["status"].as_str().unwrap_or("EgressDisabled");
        kept.insert("sessionNetworkConfiguration".into(), json!({ "status": status }));
        kept.insert("secrets".into(), self.secrets(before));
        for name in ["environmentId", "customContainerTemplate", "managedIdentitySettings", "sandpool"] {
            if !given[name].is_null() {
                kept.insert(name.into(), given[name].clone());
            }
        }
        let mcp = &given["mcpServerSettings"];
        if mcp["isMcpServerEnabled"] == true || mcp["isMCPServerEnabled"] == true {
            self.wrong("mcpServerSettings/isMcpServerEnabled", "must be false: this gateway has no MCP server");
        }
        Value::Object(kept)
    }

    fn container_type(&mut self, before: Option<&Value>) -> &'static str {
        let Some(given) = self.properties["containerType"].as_str() else {
            self.wrong("containerType", format!("is missing; it is one of {}", TYPES.join(", ")));
            return TYPES[0];
        };
        let Some(known) = TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(given)) else {
            self.wrong("containerType", format!("must be one of {}", TYPES.join(", ")));
            return TYPES[0];
        };
        if before.is_some_and(|before| before["containerType"] != known) {
            self.wrong("containerType", "cannot be changed; make another pool");
        }
        known
    }

    fn scale(&mut self) -> Value {
        let scale = &self.properties["scaleConfiguration"];
        // Documentation of the hosted service has it in another place than its schema.
        let ready = &self.properties["dynamicPoolConfiguration"]["readySessionInstances"];
        let most = number(&scale["maxConcurrentSessions"]).unwrap_or(MAX_SESSIONS);
        let ready = number(&scale["readySessionInstances"]).or(number(ready)).unwrap_or(READY_SESSIONS.min(most));
        json!({ "maxConcurrentSessions": most, "readySessionInstances": ready })
    }

    fn lifecycle(&mut self) -> Value {
        let dynamic = &self.properties["dynamicPoolConfiguration"];
        let new = &dynamic["lifecycleConfiguration"];
        // Up to 2024-10-02-preview: `executionType` and the cooldown, without a level between.
        let kind = new["lifecycleType"].as_str().or(dynamic["executionType"].as_str()).unwrap_or("Timed");
        let at = "dynamicPoolConfiguration/lifecycleConfiguration";
        let cooldown = number(&new["cooldownPeriodInSeconds"]).or(number(&dynamic["cooldownPeriodInSeconds"]));
        if kind.eq_ignore_ascii_case(ON_EXIT) && self.is_custom() {
            if cooldown.is_some() {
                self.wrong(&format!("{at}/cooldownPeriodInSeconds"), "does not go with the lifecycle OnContainerExit");
            }
            let most = number(&new["maxAlivePeriodInSeconds"]).unwrap_or(MAX_ALIVE_SECONDS);
            return json!({ "lifecycleConfiguration": { "lifecycleType": ON_EXIT, "maxAlivePeriodInSeconds": most } });
        }
        if !kind.eq_ignore_ascii_case("Timed") {
            let problem = if self.is_custom() { "must be Timed or OnContainerExit" } else { "must be Timed" };
            self.wrong(&format!("{at}/lifecycleType"), problem);
        }
        if !new["maxAlivePeriodInSeconds"].is_null() {
            self.wrong(&format!("{at}/maxAlivePeriodInSeconds"), "does not go with the lifecycle Timed");
        }
        let cooldown = cooldown.unwrap_or(COOLDOWN_SECONDS);
        json!({ "lifecycleConfiguration": { "lifecycleType": "Timed", "cooldownPeriodInSeconds": cooldown } })
    }

    fn is_custom(&self) -> bool {
        self.properties["containerType"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case(CUSTOM))
    }

    /// Names with values; a name that comes without one keeps the value that it had.
    fn secrets(&mut self, before: Option<&Value>) -> Value {
        let list = |properties: &Value| properties["secrets"].as_array().cloned().unwrap_or_default();
        let known = before.map(list).unwrap_or_default();
        let mut kept = Vec::new();
        for secret in list(self.properties) {
            let name = secret["name"].as_str().unwrap_or_default().to_owned();
            let old = known.iter().find(|old| old["name"] == name.as_str()).map(|old| old["value"].clone());
            let value = if secret["value"].is_string() { Some(secret["value"].clone()) } else { old };
            match value {
                Some(value) => kept.push(json!({ "name": name, "value": value })),
                None => self.wrong("secrets", format!("{name:?} has no value")),
            }
        }
        Value::Array(kept)
    }

    fn interpreter_pool(&mut self, name: &PoolName, kept: &Value) -> Option<PoolSpecification> {
        let own = &kept["sandpool"];
        let mut fields = own.as_object().cloned().unwrap_or_default();
        for elsewhere in ["name", "max_concurrent_sessions", "ready_session_instances", "cooldown_seconds"] {
            if fields.contains_key(elsewhere) {
                self.wrong(&format!("sandpool/{elsewhere}"), "has its place outside of sandpool");
            }
        }
        let credentials = |rule: &Value| rule.get("headers").is_some();
        if own["egress"]["allow"].as_array().is_some_and(|rules| rules.iter().any(credentials)) {
            self.wrong("sandpool/egress/allow", "must hold no headers: credentials stand in the configuration file");
        }
        let scale = &kept["scaleConfiguration"];
        fields.insert("name".into(), json!(name.as_str()));
        fields.insert("max_concurrent_sessions".into(), scale["maxConcurrentSessions"].clone());
        fields.insert("ready_session_instances".into(), scale["readySessionInstances"].clone());
        let lifecycle = &kept["dynamicPoolConfiguration"]["lifecycleConfiguration"];
        fields.insert("cooldown_seconds".into(), lifecycle["cooldownPeriodInSeconds"].clone());
        let kind = kept["containerType"].as_str().unwrap_or_default();
        fields.entry("interpreter").or_insert(json!(if kind == "NodeLTS" { "javascript" } else { "python" }));
        if !kept["customContainerTemplate"].is_null() {
            self.wrong("customContainerTemplate", "goes with the containerTypes CustomContainer and Shell alone");
        }
        if kept["sessionNetworkConfiguration"]["status"] == "EgressEnabled" {
            fields.entry("egress").or_insert(json!({ "policy": "enabled" }));
        } else if fields.get("egress").is_some_and(|egress| egress["policy"] != "disabled") {
            self.wrong("sessionNetworkConfiguration/status", "must be EgressEnabled where sandpool.egress lets out");
        }
        match serde_json::from_value::<PoolSpecification>(Value::Object(fields)) {
            Ok(specification) => {
                for problem in specification.problems() {
                    self.wrong(place(problem.setting), problem.problem);
                }
                Some(specification)
            }
            Err(error) => {
                self.wrong("sandpool", error.to_string());
                None
            }
        }
    }
}

const CUSTOM: &str = "CustomContainer";
pub(super) const SHELL: &str = "Shell";
const TYPES: [&str; 4] = ["PythonLTS", "NodeLTS", SHELL, CUSTOM];
const ON_EXIT: &str = "OnContainerExit";

fn number(value: &Value) -> Option<u64> {
    value.as_u64()
}

/// Where a setting of the specification stands in the properties.
fn place(setting: &str) -> &str {
    match setting {
        "max_concurrent_sessions" => "scaleConfiguration/maxConcurrentSessions",
        "ready_session_instances" => "scaleConfiguration/readySessionInstances",
        "cooldown_seconds" => "dynamicPoolConfiguration/lifecycleConfiguration/cooldownPeriodInSeconds",
        _ => "sandpool",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::{Arc, LazyLock};

    use futures_util::future::BoxFuture;

    use crate::sandbox::container::{
        BackendReport, Container, ContainerBackend, ContainerError, ContainerSpecification, Credentials, Enforced,
        Image, ImageReference, Isolation,
    };

    /// Nobody asks it for anything: settings are read, and no container is made.
    struct Unused;

    impl ContainerBackend for Unused {
        /// It enforces nothing.
        fn report(&self) -> &BackendReport {
            static REPORT: LazyLock<BackendReport> = LazyLock::new(|| BackendReport {
                engine: "none".into(),
                version: "0".into(),
                isolation: Isolation::Container,
                enforced: Enforced::default(),
                warnings: vec!["there is nothing".into()],
            });
            &REPORT
        }

        fn prepare_image<'a>(
            &'a self,
            _: &'a ImageReference,
            _: &'a Credentials,
        ) -> BoxFuture<'a, Result<Arc<Image>, ContainerError>> {
            unreachable!("settings are read without it")
        }

        fn create<'a>(
            &'a self,
            _: &'a ContainerSpecification,
            _: &'a Arc<Image>,
        ) -> BoxFuture<'a, Result<Arc<dyn Container>, ContainerError>> {
            unreachable!("settings are read without it")
        }
    }

    pub fn backend() -> Arc<dyn ContainerBackend> {
        Arc::new(Unused)
    }

    /// Without containers.
    fn read(
        name: &PoolName,
        before: Option<&Value>,
        properties: &Value,
    ) -> Result<(Value, PoolSpecification), Vec<Problem>> {
        let (kept, template) = super::read(name, before, properties, None)?;
        match template {
            Template::Interpreter(specification) => Ok((kept, specification)),
            Template::Container(_) => panic!("there are no containers"),
        }
    }

    fn name() -> PoolName {
        PoolName::new("p").unwrap()
    }

    fn pointers(properties: Value) -> Vec<String> {
        read(&name(), None, &properties).unwrap_err().into_iter().map(|problem| problem.pointer).collect()
    }

    #[test]
    fn the_least_gets_the_defaults() {
        let (kept, specification) = read(&name(), None, &json!({"containerType": "pythonlts"})).unwrap();
        assert_eq!(kept["containerType"], "PythonLTS");
        assert_eq!(kept["scaleConfiguration"], json!({"maxConcurrentSessions": 10, "readySessionInstances": 5}));
        assert_eq!(specification.interpreter, "python");
        assert_eq!((specification.max_concurrent_sessions, specification.cooldown_seconds), (10, 300));
    }

    #[test]
    fn older_places_are_read() {
        let properties = json!({"containerType": "NodeLTS", "scaleConfiguration": {"maxConcurrentSessions": 3},
            "dynamicPoolConfiguration": {"executionType": "Timed", "cooldownPeriodInSeconds": 400, "readySessionInstances": 2}});
        let (_, specification) = read(&name(), None, &properties).unwrap();
        assert_eq!(specification.interpreter, "javascript");
        assert_eq!((specification.ready_session_instances, specification.cooldown_seconds), (2, 400));
    }

    #[test]
    fn what_only_sandpool_has() {
        let properties = json!({"containerType": "PythonLTS", "sessionNetworkConfiguration": {"status": "EgressEnabled"},
            "sandpool": {"edition": "base", "snapshot": "after-each", "limits": {"memory_mebibytes": 256},
                "egress": {"policy": "allow-list", "allow": [{"host": "a.example"}]}}});
        let (_, specification) = read(&name(), None, &properties).unwrap();
        assert_eq!((specification.edition.as_deref(), specification.limits.memory_mebibytes), (Some("base"), 256));
        assert_eq!(specification.egress.allow.len(), 1);
    }

    #[test]
    fn sessions_may_be_kept_on_disk() {
        let properties = json!({"containerType": "PythonLTS",
            "sandpool": {"durable": true, "on_cooldown": "hibernate", "history": 3}});
        let (_, specification) = read(&name(), None, &properties).unwrap();
        assert!(specification.survives() && specification.history == 3);
    }

    #[test]
    fn everything_wrong_is_told_at_once_and_where() {
        let scale = json!({"maxConcurrentSessions": 0, "readySessionInstances": 5000});
        let timed =
            json!({"lifecycleConfiguration": {"lifecycleType": "OnContainerExit", "maxAlivePeriodInSeconds": 60}});
        let properties = json!({"containerType": "Ruby", "poolManagementType": "Manual", "scaleConfiguration": scale,
            "dynamicPoolConfiguration": timed, "mcpServerSettings": {"isMCPServerEnabled": true},
            "secrets": [{"name": "a"}], "sandpool": {"queue_length": 1, "name": "x"}});
        let told = pointers(properties).join(" ");
        for part in [
            "containerType",
            "poolManagementType",
            "maxConcurrentSessions",
            "readySessionInstances",
            "lifecycleType",
            "maxAlivePeriodInSeconds",
            "isMcpServerEnabled",
            "secrets",
            "sandpool/name",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(pointers(json!({"containerType": "PythonLTS", "sandpool": {"fule": 1}})), ["/properties/sandpool"]);
        let template = json!({"containers": [{"image": "registry.example/app"}], "ingress": {"targetPort": 80}});
        let custom = json!({"containerType": "CustomContainer", "customContainerTemplate": template});
        assert_eq!(pointers(custom), ["/properties/containerType"], "nothing runs containers");
        let both = json!({"containerType": "PythonLTS", "customContainerTemplate": template});
        assert_eq!(pointers(both), ["/properties/customContainerTemplate"]);
    }

    #[test]
    fn secrets_keep_their_values_and_egress_holds_no_credentials() {
        let first = json!({"containerType": "PythonLTS", "secrets": [{"name": "a", "value": "s3cret"}]});
        let (kept, _) = read(&name(), None, &first).unwrap();
        let again = json!({"containerType": "PythonLTS", "secrets": [{"name": "a"}]});
        assert_eq!(read(&name(), Some(&kept), &again).unwrap().0["secrets"], first["secrets"]);
        let rule = json!({"policy": "allow-list", "allow": [{"host": "a.example", "headers": {"Authorization": "x"}}]});
        let properties = json!({"containerType": "PythonLTS", "sandpool": {"egress": rule},
            "sessionNetworkConfiguration": {"status": "EgressEnabled"}});
        assert_eq!(pointers(properties), ["/properties/sandpool/egress/allow"]);
    }
}
