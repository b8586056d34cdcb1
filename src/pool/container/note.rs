//! What a pool notes on its containers, so that the gateway after this one knows what they are: of which template, and whose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::instance::Instance;
use super::session::{Session, SessionFacts};
use super::specification::ContainerPoolSpecification;
use crate::pool::PoolName;
use crate::sandbox::container::{ContainerBackend, InstanceId, Left, Note};

/// What is noted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    /// Without its secrets.
    pub template: ContainerPoolSpecification,
    /// What tells other secrets from these.
    secrets: String,
    /// The containers beside it, by their names.
    pub beside: Vec<(String, InstanceId)>,
    /// None: it is ready for one.
    pub session: Option<SessionFacts>,
}

/// The note on an instance.
pub(super) fn of(template: &ContainerPoolSpecification, instance: &Instance, session: Option<&Session>) -> Note {
    let (session, ends_at) = session.map(|session| session.facts(instance)).unzip();
    let beside = instance.beside().iter().map(|(name, other)| (name.clone(), other.id().clone())).collect();
    let facts = Facts { template: without_secrets(template), secrets: digest(template), beside, session };
    Note { facts: serde_json::to_value(facts).expect("it becomes JSON"), ends_at }
}

impl Facts {
    /// Whether it is of this template as it is now.
    pub(super) fn is_of(&self, template: &ContainerPoolSpecification) -> bool {
        self.secrets == digest(template) && self.template == without_secrets(template)
    }

    /// Whether both are of the same template.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.secrets == other.secrets && self.template == other.template
    }
}

fn without_secrets(template: &ContainerPoolSpecification) -> ContainerPoolSpecification {
    ContainerPoolSpecification { secrets: BTreeMap::new(), ..template.clone() }
}

/// The containers have them in their environment; still they are not written down once more.
fn digest(template: &ContainerPoolSpecification) -> String {
    let mut hash = Sha256::new();
    for (name, value) in &template.secrets {
        for part in [name.as_str(), value.0.as_str()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    format!("{:x}", hash.finalize())
}

/// What an earlier gateway left, by pool, until the pools take it.
#[derive(Debug, Default)]
pub struct Estate(BTreeMap<PoolName, Vec<Heir>>);

/// A container that was left.
#[derive(Debug)]
pub(super) struct Heir {
    pub id: InstanceId,
    pub facts: Facts,
}

impl Estate {
    /// What the backend has found. What no pool has noted anything of that makes sense is passed over.
    pub fn of(backend: &dyn ContainerBackend) -> Self {
        let mut estate = Self::default();
        for Left { id, facts } in backend.left() {
            match serde_json::from_value::<Facts>(facts) {
                Ok(facts) => estate.0.entry(facts.template.name.clone()).or_default().push(Heir { id, facts }),
                Err(error) => {
                    tracing::warn!(%error, "the note on a container that an earlier gateway left cannot be used: it is taken away");
                }
            }
        }
        estate
    }

    /// What belongs to a pool, the oldest session first.
    pub(super) fn take(&mut self, pool: &PoolName) -> Vec<Heir> {
        let mut heirs = self.0.remove(pool).unwrap_or_default();
        heirs.sort_by_key(|heir| heir.facts.session.as_ref().map(|session| session.created_at));
        heirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_secrets_are_another_template() {
        let read = |text: &str| -> ContainerPoolSpecification {
            toml::from_str(&format!("name = 'app'\nimage = 'r.example/a'\ntarget_port = 80\n{text}")).unwrap()
        };
        let facts = |template: &ContainerPoolSpecification| Facts {
            template: without_secrets(template),
            secrets: digest(template),
            beside: Vec::new(),
            session: None,
        };
        let one = read("secrets = { a = 'xyz', d = 'w' }");
        let noted = serde_json::to_string(&facts(&one)).unwrap();
        assert!(!noted.contains("xyz"), "{noted}");
        let noted: Facts = serde_json::from_str(&noted).unwrap();
        assert!(noted.is_of(&one));
        for other in ["secrets = { a = 'xy', d = 'zw' }", "", "read_only = true\nsecrets = { a = 'xyz', d = 'w' }"] {
            assert!(!noted.is_of(&read(other)), "{other}");
        }
    }
}
