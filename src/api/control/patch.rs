//! A change merged into a resource, by the rules of RFC 7396: objects are merged, null takes away, all else replaces.

use serde_json::{Map, Value, json};

use crate::api::error::Failure;
use crate::pool::PoolResource;

/// What the resource is to be after `change`, in the shape of a request.
pub(super) fn merged(before: &PoolResource, change: &Value) -> Result<Value, Failure> {
    let fixed = ["containerType", "environmentId", "poolManagementType"];
    for name in fixed {
        let (old, new) = (&before.properties[name], &change["properties"][name]);
        let same = old == new || old.as_str().zip(new.as_str()).is_some_and(|(old, new)| old.eq_ignore_ascii_case(new));
        if !new.is_null() && !same {
            let pointer = format!("/properties/{name}");
            return Err(Failure::Contract { pointer, problem: "cannot be changed; make another pool".into() });
        }
    }
    let mut whole = json!({
        "location": before.location,
        "tags": before.tags,
        "identity": before.identity,
        "properties": before.properties,
    });
    let mut change = change.clone();
    if let Some(fields) = change.as_object_mut() {
        // It lies where it lies.
        fields.retain(|name, _| matches!(name.as_str(), "tags" | "identity" | "properties"));
    }
    let lifecycle = "/properties/dynamicPoolConfiguration/lifecycleConfiguration";
    let kind = format!("{lifecycle}/lifecycleType");
    if change.pointer(&kind).is_some_and(|new| whole.pointer(&kind) != Some(new))
        && let Some(before) = whole.pointer_mut(lifecycle)
    {
        // The figure of one lifecycle does not go with the other.
        *before = Value::Object(Map::new());
    }
    merge(&mut whole, &change);
    Ok(whole)
}

fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in change {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn the_examples_of_the_standard() {
        for (target, change, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &change);
            assert_eq!(merged, result, "{target} {change}");
        }
    }
}
