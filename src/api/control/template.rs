//! A pool's properties: checked, completed with defaults, and translated into a specification.
//!
//! What the hosted service has is read in its places, older ones too. What only Sandpool has stands under
//! `properties.sandpool`, with the names of the configuration file's `[[pool]]`.

use serde_json::{Map, Value, json};

use crate::pool::{PoolName, PoolSpecification};

/// The command line of the hosted service has these.
const MAX_SESSIONS: u64 = 10;
const READY_SESSIONS: u64 = 5;
const COOLDOWN_SECONDS: u64 = 300;

/// Something wrong with the properties: where (a JSON pointer), and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Problem {
    pub pointer: String,
    pub problem: String,
}

/// The properties as they are kept, and what they mean. `before` is what was kept: secrets that come without a value
/// keep theirs.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn read(
    name: &PoolName,
    before: Option<&Value>,
    properties: &Value,
) -> Result<(Value, PoolSpecification), Vec<Problem>> {
    let mut reading = Reading { properties, problems: Vec::new() };
    let kept = reading.kept(before);
    let specification = reading.specification(name, &kept);
    match specification {
        Some(specification) if reading.problems.is_empty() => Ok((kept, specification)),
        _ => Err(reading.problems),
    }
}

struct Reading<'a> {
    properties: &'a Value,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn wrong(&mut self, pointer: &str, problem: impl Into<String>) {
        self.problems.push(Problem { pointer: format!("/properties/{pointer}"), problem: problem.into() });
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
        if let Err(reason) = interpreter(known) {
            self.wrong("containerType", reason);
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
        if !kind.eq_ignore_ascii_case("Timed") {
            self.wrong(&format!("{at}/lifecycleType"), "must be Timed: OnContainerExit is for containers");
        }
        if !new["maxAlivePeriodInSeconds"].is_null() {
            self.wrong(&format!("{at}/maxAlivePeriodInSeconds"), "does not go with the lifecycle Timed");
        }
        let cooldown = number(&new["cooldownPeriodInSeconds"]).or(number(&dynamic["cooldownPeriodInSeconds"]));
        let cooldown = cooldown.unwrap_or(COOLDOWN_SECONDS);
        json!({ "lifecycleConfiguration": { "lifecycleType": "Timed", "cooldownPeriodInSeconds": cooldown } })
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

    fn specification(&mut self, name: &PoolName, kept: &Value) -> Option<PoolSpecification> {
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
        if let Ok(interpreter) = interpreter(kind) {
            fields.entry("interpreter").or_insert(json!(interpreter));
        }
        if kept["sessionNetworkConfiguration"]["status"] == "EgressEnabled" {
            fields.entry("egress").or_insert(json!({ "policy": "enabled" }));
        } else if fields.get("egress").is_some_and(|egress| egress["policy"] != "disabled") {
            self.wrong("sessionNetworkConfiguration/status", "must be EgressEnabled where sandpool.egress lets out");
        }
        match serde_json::from_value::<PoolSpecification>(Value::Object(fields)) {
            Ok(specification) => {
                if specification.is_stored() {
                    self.wrong("sandpool", "asks for sessions on disk, which pools of the configuration file have");
                }
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

const TYPES: [&str; 4] = ["PythonLTS", "NodeLTS", "Shell", "CustomContainer"];

/// What a container type means here, or why this build cannot serve it.
fn interpreter(container_type: &str) -> Result<&'static str, &'static str> {
    match container_type {
        "PythonLTS" => Ok("python"),
        "NodeLTS" => Ok("javascript"),
        _ => Err("cannot be served: this gateway runs no containers"),
    }
}

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
mod tests {
    use super::*;

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
    fn everything_wrong_is_told_at_once_and_where() {
        let scale = json!({"maxConcurrentSessions": 0, "readySessionInstances": 5000});
        let timed =
            json!({"lifecycleConfiguration": {"lifecycleType": "OnContainerExit", "maxAlivePeriodInSeconds": 60}});
        let properties = json!({"containerType": "Shell", "poolManagementType": "Manual", "scaleConfiguration": scale,
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
