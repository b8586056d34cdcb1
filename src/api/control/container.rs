//! The template of a pool of containers: checked, and translated into a specification.
//!
//! What it asks for and this gateway does not have is refused where it stands; nothing is left out in silence.

use serde_json::{Map, Value, json};

use super::template::{Reading, SHELL};
use crate::egress::Mode;
use crate::egress::connections::ConnectionPolicy;
use crate::gateway::Containers;
use crate::pool::PoolName;
use crate::pool::container::{ContainerPoolSpecification, Interpreter};
use crate::sandbox::container::ImageReference;

/// What stands under `properties.sandpool`, with the names of `[[container_pool]]`.
const OWN: [&str; 7] = [
    "read_only",
    "resources",
    "termination_grace_seconds",
    "allocation_timeout_seconds",
    "console_log",
    "egress",
    "interpreter",
];
const TEMPLATE: &str = "customContainerTemplate";

impl Reading<'_> {
    pub(super) fn container_pool(
        &mut self,
        name: &PoolName,
        kept: &Value,
        here: &Containers,
    ) -> Option<ContainerPoolSpecification> {
        let template = &kept[TEMPLATE];
        let shell = kept["containerType"] == SHELL;
        if template.is_null() && !shell {
            self.wrong(TEMPLATE, "is missing: it says which image to run");
            return None;
        }
        self.only(TEMPLATE, template, &["registryCredentials", "containers", "ingress"]);
        let mut fields = self.own(&kept["sandpool"]);
        fields.insert("name".into(), json!(name.as_str()));
        fields.insert("max_concurrent_sessions".into(), kept["scaleConfiguration"]["maxConcurrentSessions"].clone());
        fields.insert("ready_session_instances".into(), kept["scaleConfiguration"]["readySessionInstances"].clone());
        fields.insert("lifecycle".into(), lifecycle(kept));
        fields.insert("secrets".into(), secrets(kept));
        self.interpreter(&mut fields, shell);
        let runs_code = fields.contains_key("interpreter");
        let mut given = template["containers"].clone();
        if shell {
            of_shell(&mut given);
        }
        let [container, others @ ..] = self.containers(&given) else { return None };
        let (image, described) = self.container(0, container, fields.remove("resources"), here)?;
        fields.extend(described);
        let mut sidecars = Vec::new();
        for (number, other) in others.iter().enumerate() {
            let (_, mut described) = self.container(number + 1, other, None, here)?;
            described.insert("name".into(), json!(other["name"].as_str().unwrap_or_default()));
            sidecars.push(Value::Object(described));
        }
        fields.insert("sidecar".into(), json!(sidecars));
        if let Some(login) = self.registry(&template["registryCredentials"], &image) {
            fields.insert("registry".into(), login);
        }
        self.only(&format!("{TEMPLATE}/ingress"), &template["ingress"], &["targetPort"]);
        match template["ingress"]["targetPort"].as_u64() {
            Some(port) => drop(fields.insert("target_port".into(), json!(port))),
            None if runs_code => {}
            None => {
                self.wrong(&format!("{TEMPLATE}/ingress/targetPort"), "is missing: requests are forwarded there");
                return None;
            }
        }
        let enabled = kept["sessionNetworkConfiguration"]["status"] == "EgressEnabled";
        let egress = self.egress(fields.remove("egress"), enabled, here);
        fields.insert("egress".into(), json!(egress));
        self.specified(fields)
    }

    /// Where its containers may connect to.
    fn egress(&mut self, own: Option<Value>, enabled: bool, here: &Containers) -> ConnectionPolicy {
        let at = "sessionNetworkConfiguration/status";
        let own = own.map(serde_json::from_value::<ConnectionPolicy>).transpose();
        let own = own.map_err(|error| self.wrong("sandpool/egress", error.to_string())).unwrap_or_default();
        let policy = match (enabled, own) {
            (true, Some(own)) => own,
            (true, None) => ConnectionPolicy { policy: Mode::Enabled, ..ConnectionPolicy::default() },
            (false, Some(own)) if own.is_open() => {
                self.wrong(at, "must be EgressEnabled where sandpool.egress lets out");
                own
            }
            (false, own) => own.unwrap_or_default(),
        };
        let report = here.backend.report();
        if policy.is_open() && !report.enforced.way_out {
            let why =
                if report.warnings.is_empty() { String::new() } else { format!(" ({})", report.warnings.join("; ")) };
            self.wrong(at, format!("must be EgressDisabled: this gateway cannot give containers a way out{why}"));
        }
        policy
    }

    fn specified(&mut self, fields: Map<String, Value>) -> Option<ContainerPoolSpecification> {
        match serde_json::from_value::<ContainerPoolSpecification>(Value::Object(fields)) {
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

    /// What only Sandpool has.
    fn own(&mut self, own: &Value) -> Map<String, Value> {
        self.only("sandpool", own, &OWN);
        self.only("sandpool/resources", &own["resources"], &["disk_mebibytes", "pids"]);
        let given = own.as_object().into_iter().flatten();
        given.filter(|(name, value)| OWN.contains(&name.as_str()) && !value.is_null()).map(cloned).collect()
    }

    /// How what callers send is run. A pool of shells runs commands, whatever else it says.
    fn interpreter(&mut self, fields: &mut Map<String, Value>, shell: bool) {
        let mut given = fields.remove("interpreter").unwrap_or_else(|| if shell { json!({}) } else { Value::Null });
        if given.is_null() {
            return;
        }
        if shell && let Some(own) = given.as_object_mut() {
            if own.get("language").is_some_and(|language| language != "shell") {
                let problem = "must be shell, or left out, where the containerType is Shell";
                self.wrong("sandpool/interpreter/language", problem);
            }
            own.insert("language".into(), json!("shell"));
        }
        if let Err(error) = serde_json::from_value::<Interpreter>(given.clone()) {
            return self.wrong("sandpool/interpreter", error.to_string());
        }
        fields.insert("interpreter".into(), given);
    }

    /// The containers of a session; the first is the one that requests go to.
    fn containers<'v>(&mut self, containers: &'v Value) -> &'v [Value] {
        let containers = containers.as_array().map(Vec::as_slice).unwrap_or_default();
        if containers.is_empty() {
            self.wrong(&format!("{TEMPLATE}/containers"), "is missing: a session has at least one container");
        }
        containers
    }

    /// A container of a session: its image, and its settings with the names of the configuration file. `own`: what only
    /// Sandpool has of its resources.
    fn container(
        &mut self,
        number: usize,
        container: &Value,
        own: Option<Value>,
        here: &Containers,
    ) -> Option<(ImageReference, Map<String, Value>)> {
        let at = format!("{TEMPLATE}/containers/{number}");
        self.only(&at, container, &["name", "image", "command", "args", "env", "resources", "probes"]);
        let image = self.image(&at, &container["image"], here)?;
        let mut fields = Map::new();
        fields.insert("image".into(), json!(image.to_string()));
        for list in ["command", "args", "env"] {
            let items = container[list].as_array().cloned().unwrap_or_default();
            fields.insert(list.into(), if list == "env" { self.variables(&at, &items) } else { Value::Array(items) });
        }
        fields.insert("resources".into(), self.resources(&at, &container["resources"], own));
        let probes: Vec<_> = container["probes"].as_array().cloned().unwrap_or_default();
        let probes: Vec<_> = probes.iter().enumerate().map(|(number, probe)| self.probe(&at, number, probe)).collect();
        fields.insert("probes".into(), json!(probes));
        Some((image, fields))
    }

    fn image(&mut self, at: &str, image: &Value, here: &Containers) -> Option<ImageReference> {
        let at = format!("{at}/image");
        let Some(text) = image.as_str().filter(|text| !text.is_empty()) else {
            self.wrong(&at, "is missing");
            return None;
        };
        match text.parse::<ImageReference>() {
            Ok(reference) => {
                if let Err(problem) = here.allowed_images.check(&reference) {
                    self.wrong(&at, problem);
                }
                if let Some(problem) = here.backend.lacks(&reference) {
                    self.wrong(&at, problem);
                }
                Some(reference)
            }
            Err(error) => {
                self.wrong(&at, error.to_string());
                None
            }
        }
    }

    fn variables(&mut self, at: &str, items: &[Value]) -> Value {
        let variable = |(number, item): (usize, &Value)| {
            self.only(&format!("{at}/env/{number}"), item, &["name", "value", "secretRef"]);
            json!({
                "name": item["name"].as_str().unwrap_or_default(),
                "value": item["value"],
                "secret_ref": item["secretRef"],
            })
        };
        items.iter().enumerate().map(variable).collect()
    }

    fn resources(&mut self, at: &str, given: &Value, own: Option<Value>) -> Value {
        let at = format!("{at}/resources");
        self.only(&at, given, &["cpu", "memory"]);
        let mut resources = own.and_then(|own| own.as_object().cloned()).unwrap_or_default();
        resources.retain(|_, value| !value.is_null());
        if let Some(cpu) = given["cpu"].as_f64() {
            resources.insert("cpu".into(), json!(cpu));
        }
        if let Some(text) = given["memory"].as_str() {
            match mebibytes(text) {
                Some(memory) => drop(resources.insert("memory_mebibytes".into(), json!(memory))),
                None => self.wrong(&format!("{at}/memory"), "must be a number with a unit, such as 1Gi or 512Mi"),
            }
        }
        Value::Object(resources)
    }

    fn probe(&mut self, at: &str, number: usize, probe: &Value) -> Value {
        let at = format!("{at}/probes/{number}");
        let figures = [
            ("initialDelaySeconds", "initial_delay_seconds"),
            ("periodSeconds", "period_seconds"),
            ("timeoutSeconds", "timeout_seconds"),
            ("failureThreshold", "failure_threshold"),
            ("successThreshold", "success_threshold"),
            ("terminationGracePeriodSeconds", "termination_grace_seconds"),
        ];
        let known: Vec<_> = figures.iter().map(|(name, _)| *name).chain(["type", "httpGet", "tcpSocket"]).collect();
        self.only(&at, probe, &known);
        let mut made = Map::new();
        let given = probe["type"].as_str().unwrap_or_default();
        let kind = ["startup", "liveness"].into_iter().find(|kind| kind.eq_ignore_ascii_case(given));
        if kind.is_none() {
            self.wrong(&format!("{at}/type"), "must be Startup or Liveness");
        }
        made.insert("type".into(), json!(kind.unwrap_or("startup")));
        for (name, own) in figures {
            if let Some(figure) = probe[name].as_u64() {
                made.insert(own.into(), json!(figure));
            }
        }
        if !probe["httpGet"].is_null() {
            made.insert("http_get".into(), self.http_get(&format!("{at}/httpGet"), &probe["httpGet"]));
        }
        if !probe["tcpSocket"].is_null() {
            let at = format!("{at}/tcpSocket");
            self.only(&at, &probe["tcpSocket"], &["port", "host"]);
            self.host(&at, &probe["tcpSocket"]);
            made.insert("tcp_socket".into(), json!({ "port": self.port(&at, &probe["tcpSocket"]) }));
        }
        Value::Object(made)
    }

    fn http_get(&mut self, at: &str, get: &Value) -> Value {
        self.only(at, get, &["port", "path", "host", "scheme", "httpHeaders"]);
        self.host(at, get);
        if get["scheme"].as_str().is_some_and(|scheme| !scheme.eq_ignore_ascii_case("HTTP")) {
            self.wrong(&format!("{at}/scheme"), "must be HTTP");
        }
        let header = |header: &Value| json!({ "name": header["name"], "value": header["value"] });
        let headers: Vec<_> = get["httpHeaders"].as_array().into_iter().flatten().map(header).collect();
        json!({ "port": self.port(at, get), "path": get["path"].as_str().unwrap_or("/"), "headers": headers })
    }

    fn port(&mut self, at: &str, given: &Value) -> u16 {
        let port = given["port"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        if port.is_none() {
            self.wrong(&format!("{at}/port"), "must be a number from 1 to 65535");
        }
        port.unwrap_or(1)
    }

    /// Probes go to the container alone.
    fn host(&mut self, at: &str, given: &Value) {
        if given["host"].as_str().is_some_and(|host| !matches!(host, "" | "localhost" | "127.0.0.1")) {
            self.wrong(&format!("{at}/host"), "must be left out: a probe asks its container");
        }
    }

    /// What the image's registry is shown.
    fn registry(&mut self, given: &Value, image: &ImageReference) -> Option<Value> {
        let at = format!("{TEMPLATE}/registryCredentials");
        self.only(&at, given, &["server", "username", "passwordSecretRef", "identity"]);
        if given["identity"].as_str().is_some_and(|identity| !identity.is_empty()) {
            self.wrong(
                &format!("{at}/identity"),
                "cannot be used: this gateway has no managed identity; give a username",
            );
        }
        let server = image.registry().unwrap_or_default();
        if given["server"].as_str().is_some_and(|given| !given.is_empty() && !given.eq_ignore_ascii_case(server)) {
            let problem = format!("is not the registry of the image, {server}: its password would be sent nowhere");
            self.wrong(&format!("{at}/server"), problem);
        }
        let text = |name: &str| given[name].as_str().filter(|text| !text.is_empty());
        match (text("username"), text("passwordSecretRef")) {
            (Some(username), Some(secret)) => Some(json!({ "username": username, "password_secret_ref": secret })),
            (None, None) => None,
            (Some(_), None) => {
                self.wrong(&format!("{at}/passwordSecretRef"), "is missing: it names the secret with the password");
                None
            }
            (None, Some(_)) => {
                self.wrong(&format!("{at}/username"), "is missing");
                None
            }
        }
    }
}

fn cloned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn lifecycle(kept: &Value) -> Value {
    let lifecycle = &kept["dynamicPoolConfiguration"]["lifecycleConfiguration"];
    match lifecycle["maxAlivePeriodInSeconds"].as_u64() {
        Some(seconds) => json!({ "type": "on-container-exit", "max_alive_seconds": seconds }),
        None => json!({ "type": "timed", "cooldown_seconds": lifecycle["cooldownPeriodInSeconds"] }),
    }
}

fn secrets(kept: &Value) -> Value {
    let all = kept["secrets"].as_array().into_iter().flatten();
    let named = |secret: &Value| Some((secret["name"].as_str()?.to_owned(), secret["value"].clone()));
    Value::Object(all.filter_map(named).collect())
}

/// A pool of shells needs to say nothing of its container; its image is the built-in one.
fn of_shell(containers: &mut Value) {
    if containers.is_null() {
        *containers = json!([{}]);
    }
    let first = containers.get_mut(0).and_then(Value::as_object_mut);
    if let Some(first) = first.filter(|first| first.get("image").is_none_or(Value::is_null)) {
        first.insert("image".into(), json!(ImageReference::shell().to_string()));
    }
}

/// A quantity of Kubernetes', rounded down; `Mb` and the like too, which documentation of the hosted service has.
fn mebibytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let bytes = match unit.trim_end_matches(['b', 'B']) {
        "Ki" => 1024.0,
        "Mi" => f64::from(1 << 20),
        "Gi" => f64::from(1 << 30),
        "K" | "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "" => 1.0,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * bytes;
    (bytes < 2_f64.powi(60)).then_some(bytes as u64 >> 20)
}

/// Where a setting of the specification stands in the properties.
fn place(setting: &str) -> &str {
    match setting {
        "max_concurrent_sessions" => "scaleConfiguration/maxConcurrentSessions",
        "ready_session_instances" => "scaleConfiguration/readySessionInstances",
        "lifecycle.cooldown_seconds" => "dynamicPoolConfiguration/lifecycleConfiguration/cooldownPeriodInSeconds",
        "lifecycle.max_alive_seconds" => "dynamicPoolConfiguration/lifecycleConfiguration/maxAlivePeriodInSeconds",
        "target_port" => "customContainerTemplate/ingress/targetPort",
        "resources.cpu" => "customContainerTemplate/containers/0/resources/cpu",
        "resources.memory_mebibytes" => "customContainerTemplate/containers/0/resources/memory",
        "env" => "customContainerTemplate/containers/0/env",
        "image" => "customContainerTemplate/containers/0/image",
        "command" => "customContainerTemplate/containers/0/command",
        "args" => "customContainerTemplate/containers/0/args",
        "probes" => "customContainerTemplate/containers/0/probes",
        "registry" => "customContainerTemplate/registryCredentials/passwordSecretRef",
        "sidecar" => "customContainerTemplate/containers",
        "egress.policy" | "egress.allow" | "egress.limits.connections" | "egress.limits.idle_seconds" => {
            "sandpool/egress"
        }
        setting if setting.starts_with("interpreter.") => "sandpool/interpreter",
        _ => "sandpool",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::control::template::{self, tests::backend};
    use crate::pool::Template;
    use crate::pool::container::{Language, Lifecycle};

    fn read(properties: &Value) -> Result<ContainerPoolSpecification, Vec<String>> {
        let here = Containers::new(backend(), Default::default(), false);
        match template::read(&PoolName::new("p").unwrap(), None, properties, Some(&here)) {
            Ok((_, Template::Container(specification))) => Ok(specification),
            Ok((_, Template::Interpreter(_))) => panic!("it is a pool of containers"),
            Err(problems) => Err(problems.into_iter().map(|problem| problem.pointer).collect()),
        }
    }

    /// What a caller asks for who asks for everything.
    fn full() -> Value {
        json!({
            "containerType": "CustomContainer",
            "environmentId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/managedEnvironments/e",
            "scaleConfiguration": {"maxConcurrentSessions": 20, "readySessionInstances": 5},
            "dynamicPoolConfiguration":
                {"lifecycleConfiguration": {"lifecycleType": "OnContainerExit", "maxAlivePeriodInSeconds": 6000}},
            "secrets": [{"name": "registry", "value": "pass"}, {"name": "token", "value": "s3cret"}],
            "sessionNetworkConfiguration": {"status": "EgressDisabled"},
            "managedIdentitySettings": [{"identity": "system", "lifecycle": "Main"}],
            "customContainerTemplate": {
                "registryCredentials":
                    {"server": "registry.example", "username": "ci", "passwordSecretRef": "registry"},
                "containers": [{
                    "name": "main", "image": "registry.example/team/app:1", "command": ["/bin/app"], "args": ["serve"],
                    "env": [{"name": "MODE", "value": "session"}, {"name": "TOKEN", "secretRef": "token"}],
                    "resources": {"cpu": 0.25, "memory": "0.5Gi"},
                    "probes": [
                        {"type": "Liveness", "httpGet": {"path": "/health", "port": 8080, "httpHeaders": [
                            {"name": "X-Probe", "value": "1"}]}, "periodSeconds": 10, "failureThreshold": 3,
                            "terminationGracePeriodSeconds": 7},
                        {"type": "Startup", "tcpSocket": {"port": 8080}, "periodSeconds": 5, "failureThreshold": 30},
                    ],
                }],
                "ingress": {"targetPort": 8080},
            },
            "sandpool": {"read_only": true, "resources": {"pids": 64}, "termination_grace_seconds": 2},
        })
    }

    #[test]
    fn everything_documented_is_understood() {
        let pool = read(&full()).unwrap();
        assert_eq!(pool.image.to_string(), "registry.example/team/app:1");
        assert_eq!((pool.command.len(), pool.args.len(), pool.target_port), (1, 1, 8080));
        assert_eq!((pool.resources.cpu, pool.resources.memory_mebibytes, pool.resources.pids), (0.25, 512, 64));
        assert_eq!(pool.lifecycle, Lifecycle::OnContainerExit { max_alive_seconds: 6000 });
        assert_eq!((pool.probes.len(), pool.probes[0].termination_grace_seconds), (2, Some(7)));
        assert_eq!(pool.env[1].secret_ref.as_deref(), Some("token"));
        assert_eq!(pool.registry.as_ref().unwrap().username, "ci");
        assert!(pool.read_only && pool.termination_grace_seconds == 2);
        assert_eq!((pool.max_concurrent_sessions, pool.ready_session_instances), (20, 5));
    }

    #[test]
    fn what_cannot_be_done_is_refused_where_it_stands() {
        let container = "/properties/customContainerTemplate/containers/0";
        let changed = |pointer: &str, value: Value| {
            let mut properties = full();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            match properties.pointer_mut(parent).unwrap() {
                Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
                parent => parent[name] = value,
            }
            read(&properties).unwrap_err().join(" ")
        };
        for (pointer, value) in [
            ("/sessionNetworkConfiguration/status", json!("EgressEnabled")),
            ("/customContainerTemplate/registryCredentials/identity", json!("system")),
            ("/customContainerTemplate/registryCredentials/server", json!("other.example")),
            ("/customContainerTemplate/registryCredentials/passwordSecretRef", json!("gone")),
            ("/customContainerTemplate/ingress/targetPort", Value::Null),
            ("/customContainerTemplate/containers", json!([{"image": "a"}, {"image": "b"}])),
            (
                "/customContainerTemplate/containers",
                json!([{"image": "a"}, {"image": "b", "name": "x"}, {"image": "c", "name": "x"}]),
            ),
            ("/customContainerTemplate/containers", json!([{"image": "a"}, {"image": "oci:/srv/x", "name": "x"}])),
            ("/customContainerTemplate/containers", json!([])),
            ("/customContainerTemplate/volumes", json!([])),
            ("/customContainerTemplate/containers/0/volumeMounts", json!([])),
            ("/customContainerTemplate/containers/0/image", json!("oci:/srv/images/app")),
            ("/customContainerTemplate/containers/0/image", json!("a b")),
            ("/customContainerTemplate/containers/0/resources/memory", json!("much")),
            ("/customContainerTemplate/containers/0/resources/cpu", json!(0)),
            ("/customContainerTemplate/containers/0/probes/0/type", json!("Readiness")),
            ("/customContainerTemplate/containers/0/probes/0/httpGet/scheme", json!("HTTPS")),
            ("/customContainerTemplate/containers/0/probes/0/httpGet/host", json!("169.254.169.254")),
            ("/customContainerTemplate/containers/0/probes/1/tcpSocket/port", json!(0)),
            ("/sandpool/interpreter", json!("python")),
            ("/sandpool/resources/memory_mebibytes", json!(1)),
        ] {
            let told = changed(pointer, value);
            assert!(told.contains(&format!("/properties{pointer}")), "{pointer}: {told}");
        }
        assert!(changed("/customContainerTemplate/containers/0/env/1/secretRef", json!("gone")).contains(container));
        assert!(changed("/customContainerTemplate/containers/0/probes/0/periodSeconds", json!(0)).contains("probes"));
    }

    #[test]
    fn what_stands_beside_the_first_container_is_a_sidecar() {
        let mut properties = full();
        let containers = properties["customContainerTemplate"]["containers"].as_array_mut().unwrap();
        containers.push(json!({"name": "cache", "image": "registry.example/cache:2", "args": ["--small"],
            "env": [{"name": "TOKEN", "secretRef": "token"}], "resources": {"cpu": 0.1, "memory": "64Mi"},
            "probes": [{"type": "Startup", "tcpSocket": {"port": 6379}}]}));
        let pool = read(&properties).unwrap();
        let [sidecar] = pool.sidecars.as_slice() else { panic!("{pool:?}") };
        assert_eq!((sidecar.name.as_str(), sidecar.image.to_string().as_str()), ("cache", "registry.example/cache:2"));
        assert_eq!((sidecar.resources.memory_mebibytes, sidecar.probes.len(), sidecar.env.len()), (64, 1, 1));
        assert_eq!((pool.resources.memory_mebibytes, pool.resources.pids), (512, 64), "the first one's are its own");
    }

    #[test]
    fn a_shell_says_nothing_of_its_container() {
        let pool = read(&json!({"containerType": "shell"})).unwrap();
        assert_eq!(pool.image, ImageReference::shell());
        assert_eq!(pool.interpreter.unwrap().language, Language::Shell);
        let more = json!({"containerType": "Shell", "sandpool": {"interpreter": {"limits": {"timeout_seconds": 5}}},
            "customContainerTemplate": {"containers": [{"image": "registry.example/shell:1", "resources": {"cpu": 2}}]}});
        let pool = read(&more).unwrap();
        assert_eq!((pool.image.to_string().as_str(), pool.resources.cpu), ("registry.example/shell:1", 2.0));
        assert_eq!(pool.interpreter.unwrap().limits.timeout_seconds, 5);
        let other = json!({"containerType": "Shell", "sandpool": {"interpreter": {"language": "code"}}});
        assert_eq!(read(&other).unwrap_err(), ["/properties/sandpool/interpreter/language"]);
        let port = json!({"containerType": "Shell", "customContainerTemplate": {"ingress": {"targetPort": 80}}});
        assert_eq!(read(&port).unwrap_err(), ["/properties/customContainerTemplate/ingress/targetPort"]);
    }

    #[test]
    fn any_image_may_run_programs() {
        let interpreter = json!({"language": "code", "command": ["python3", "-"], "limits": {"code_bytes": 1000}});
        let mut pool = json!({"containerType": "CustomContainer", "sandpool": {"interpreter": interpreter},
            "customContainerTemplate": {"containers": [{"image": "registry.example/app:1"}]}});
        assert_eq!(read(&pool).unwrap().interpreter.unwrap().command, ["python3", "-"]);
        pool["sandpool"]["interpreter"]["command"] = json!([]);
        assert_eq!(read(&pool).unwrap_err(), ["/properties/sandpool/interpreter"]);
    }

    #[test]
    fn memory_has_a_unit() {
        for (text, expected) in [
            ("1Gi", Some(1024)),
            ("0.5Gi", Some(512)),
            ("512Mi", Some(512)),
            ("250Mb", Some(238)),
            ("2097152", Some(2)),
        ] {
            assert_eq!(mebibytes(text), expected, "{text}");
        }
        for text in ["", "Gi", "1.2.3Gi", "1Ti", "-1Gi", "1e30Gi", "99999999999999999999Gi"] {
            assert_eq!(mebibytes(text), None, "{text}");
        }
    }
}
