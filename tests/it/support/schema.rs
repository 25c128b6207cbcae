//! JSON Schemas of a document of an interface, taken strictly: what is not documented is wrong.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// A document with `components.schemas`, and the validators that were made of it.
pub struct Schemas {
    /// The document.
    pub document: Value,
    ready: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Schemas {
    pub fn new(document: Value) -> Self {
        Self { document, ready: Mutex::default() }
    }

    /// Why `value` does not fit the schema; nothing when it does.
    pub fn fault(&self, schema: &Value, value: &Value) -> Option<String> {
        let validator = self.ready.lock().expect("no holder panics").entry(schema.to_string()).or_insert_with(|| self.make(schema)).clone();
        let faults: Vec<String> = validator.iter_errors(value).map(|fault| format!("{} at `{}`", fault, fault.instance_path())).collect();
        (!faults.is_empty()).then(|| format!("{}: {value}", faults.join("; ")))
    }

    fn make(&self, schema: &Value) -> Arc<Validator> {
        let mut root = self.closed(schema);
        root["components"] = json!({"schemas": self.closed(&self.document["components"]["schemas"])});
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true);
        Arc::new(options.build(&root).unwrap_or_else(|e| panic!("{schema} is not a schema: {e}")))
    }

    /// The schema without references.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(place) => self.resolve(self.document.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("no {place}"))),
            None => schema,
        }
    }

    /// The schema whose objects take no other fields; those that are put together become one.
    fn closed(&self, schema: &Value) -> Value {
        match schema {
            Value::Array(items) => items.iter().map(|item| self.closed(item)).collect(),
            Value::Object(fields) => {
                let mut fields = fields.clone();
                if let Some(parts) = fields.remove("allOf") {
                    let (mut properties, mut required) = (Map::new(), Vec::new());
                    for part in parts.as_array().expect("parts are an array").iter().map(|part| self.resolve(part)) {
                        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
                        required.extend(part["required"].as_array().cloned().unwrap_or_default());
                    }
                    fields.extend([("properties".into(), json!(properties)), ("required".into(), json!(required))]);
                }
                let is_object = fields.get("properties").is_some_and(|properties| properties.get("type").is_none_or(Value::is_object));
                let mut fields: Map<String, Value> = fields.iter().map(|(name, field)| (name.clone(), self.closed(field))).collect();
                if is_object {
                    fields.insert("additionalProperties".into(), json!(false));
                }
                Value::Object(fields)
            }
            other => other.clone(),
        }
    }
}
