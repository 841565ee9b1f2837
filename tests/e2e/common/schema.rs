//! The JSON Schemas of docs/schemas, and the part of a validator that they need. A field that no
//! schema names is a fault here: it is not documented. Patterns and lengths are not checked.

use std::sync::LazyLock;

use serde_json::{Map, Value};

static ANSWERS: LazyLock<Value> = LazyLock::new(|| read(include_str!("../../../docs/schemas/answers.json")));
static REQUESTS: LazyLock<Value> = LazyLock::new(|| read(include_str!("../../../docs/schemas/requests.json")));

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("a schema is JSON")
}

/// Asserts that a line matches its schema.
pub(crate) fn assert_answer(line: &Value) {
    check(&ANSWERS, &ANSWERS, line, &[]).unwrap_or_else(|why| panic!("docs/schemas/answers.json: {why}: {line}"));
}

/// Asserts that a request matches its schema.
pub(crate) fn assert_request(line: &Value) {
    check(&REQUESTS, &REQUESTS, line, &[]).unwrap_or_else(|why| panic!("docs/schemas/requests.json: {why}: {line}"));
}

/// The events of the answers.
pub(crate) fn events() -> Vec<&'static str> {
    names(&ANSWERS, "event")
}

/// The commands of the requests.
pub(crate) fn commands() -> Vec<&'static str> {
    names(&REQUESTS, "cmd")
}

/// The kinds of the numbered events, each with its own fields.
pub(crate) fn kinds() -> Vec<(&'static str, Vec<&'static str>)> {
    let all = ANSWERS["oneOf"].as_array().expect("alternatives").iter().map(|one| &one["properties"]);
    let fields = |one: &'static Value| {
        let fields = one.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
        fields.filter(|field| !["event", "seq", "kind"].contains(field)).collect()
    };
    all.filter_map(|one| Some((one["kind"]["const"].as_str()?, fields(one)))).collect()
}

/// The names of the alternatives of a schema in this field.
fn names<'a>(schema: &'a Value, field: &str) -> Vec<&'a str> {
    let all = schema["oneOf"].as_array().expect("alternatives").iter();
    all.filter_map(|one| one["properties"][field]["const"].as_str()).collect()
}

fn check(root: &Value, schema: &Value, value: &Value, known: &[&str]) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        return check(root, &root["$defs"][name], value, known);
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{value} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    let types: Vec<&str> = match schema["type"].as_array() {
        Some(all) => all.iter().filter_map(Value::as_str).collect(),
        None => schema["type"].as_str().into_iter().collect(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_of(name, value)) {
        return Err(format!("{value} is not of the type {types:?}"));
    }
    if let (Some(items), Some(all)) = (schema.get("items"), value.as_array()) {
        all.iter().try_for_each(|one| check(root, items, one, &[]))?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    check_fields(root, schema, fields, known)?;
    let Some(alternatives) = schema["oneOf"].as_array() else { return Ok(()) };
    let own: Vec<&str> = schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    let (mut fits, mut whys) = (0, Vec::new());
    for one in alternatives {
        match check(root, one, value, &own) {
            Ok(()) => fits += 1,
            Err(why) => whys.push(why),
        }
    }
    // The reason of the alternative that is meant is not about its name.
    let meant = whys.into_iter().find(|why| !why.contains("\" is not \""));
    if fits == 1 { Ok(()) } else { Err(meant.unwrap_or_else(|| format!("{fits} alternatives fit"))) }
}

fn check_fields(root: &Value, schema: &Value, fields: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    let named = schema["properties"].as_object();
    // First whether it is this alternative at all.
    let is_other = |name: &String, one: &Value| {
        one.get("const").is_some_and(|only| fields.get(name).is_some_and(|field| field != only))
    };
    if let Some((name, one)) = named.into_iter().flatten().find(|(name, one)| is_other(name, one)) {
        return Err(format!("{} is not {}", fields[name], one["const"]));
    }
    for (name, field) in fields {
        match (named.and_then(|named| named.get(name)), schema.get("additionalProperties")) {
            (Some(one), _) | (None, Some(one)) => {
                check(root, one, field, &[])
                    .map_err(|why| if why.contains("\" is not \"") { why } else { format!("{name}: {why}") })?;
            }
            (None, None) if known.contains(&name.as_str()) || schema.get("oneOf").is_some() || named.is_none() => {}
            (None, None) => return Err(format!("the field {name} is not documented")),
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match required.into_iter().find(|name| !fields.contains_key(*name)) {
        Some(missing) => Err(format!("the field {missing} is missing")),
        None => Ok(()),
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "null" => value.is_null(),
        other => panic!("a schema names the type {other}"),
    }
}
