//! A TOML document against the JSON Schema of the configuration.
//!
//! serde stops at the first mistake and knows no ranges; this walks the whole document, reports every mistake at its place,
//! and returns what is usable as JSON, so that the rules between keys can still be checked on the rest. It knows only
//! those words of JSON Schema that `schemars` writes for our structs; a test holds the two together.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, nearest};

/// Where each key stands, and what is wrong so far.
#[derive(Debug)]
pub struct Places {
    file: String,
    /// Byte offsets at which lines begin.
    lines: Vec<usize>,
    text: String,
    spans: HashMap<String, Range<usize>>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
}

impl Places {
    /// For a file's text.
    #[must_use]
    pub fn new(text: &str, file: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.to_owned(), lines, text: text.to_owned(), spans: HashMap::new(), problems: Vec::new() }
    }

    /// An error at a key, or at the nearest key above it that the file has.
    pub fn error(&mut self, key: &str, message: String, hint: &str) {
        self.report(key, message, hint, false);
    }

    /// A warning at a key, or at the nearest key above it that the file has.
    pub fn warning(&mut self, key: &str, message: String, hint: &str) {
        self.report(key, message, hint, true);
    }

    fn report(&mut self, key: &str, message: String, hint: &str, warning: bool) {
        // A rule that looks at a value which was refused, or at its section, would only repeat what is said already.
        let at_or_below =
            |p: &Problem| p.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        if !key.is_empty() && self.problems.iter().any(at_or_below) {
            return;
        }
        let mut above = key;
        let span = loop {
            match (self.spans.get(above), above.rfind(['.', '['])) {
                (Some(span), _) => break Some(span.clone()),
                (None, Some(cut)) => above = &above[..cut],
                (None, None) => break None,
            }
        };
        let (line, column) = span.map_or((0, 0), |span| self.line_column(span.start));
        let (file, key, hint) = (self.file.clone(), key.to_owned(), hint.to_owned());
        self.problems.push(Problem { file, line, column, key, message, hint, warning });
    }

    fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let before = self.text.get(self.lines[line - 1]..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// Checks the document against a schema; what is usable of it, or nothing if it is not TOML.
pub fn check(text: &str, root: &Value, places: &mut Places) -> Option<Value> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let (line, column) = error.span().map_or((0, 0), |span| places.line_column(span.start));
        let (file, message) = (places.file.clone(), error.message().trim().replace('\n', ", "));
        places.problems.push(Problem { file, line, column, key: String::new(), message, hint: String::new(), warning: false });
    }
    if !errors.is_empty() {
        return None;
    }
    Walk { root, places }.table(document.get_ref(), root, "")
}

struct Walk<'a> {
    root: &'a Value,
    places: &'a mut Places,
}

impl Walk<'_> {
    /// The value as JSON, if it is usable.
    fn value(&mut self, value: &DeValue<'_>, schema: &Value, key: &str) -> Option<Value> {
        let schema = self.resolve(schema);
        let types = types(&schema);
        let is = |name: &str| types.contains(&name);
        match value {
            DeValue::Table(table) if is("object") => self.table(table, &schema, key),
            DeValue::Array(array) if is("array") => self.array(array, &schema, key),
            DeValue::String(text) if is("string") => self.string(text, &schema, key),
            DeValue::Boolean(flag) if is("boolean") => Some(Value::Bool(*flag)),
            DeValue::Integer(number) if is("integer") || is("number") => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(n) if is("integer") => self.in_range(n.into(), &schema, key),
                    Ok(n) => self.in_range((n as f64).into(), &schema, key),
                    Err(_) => self.refuse(key, format!("{number} is too large{}", range(&schema)), ""),
                }
            }
            DeValue::Float(number) if is("number") => {
                let finite = number.as_str().replace('_', "").parse::<f64>().ok().and_then(serde_json::Number::from_f64);
                match finite {
                    Some(n) => self.in_range(n.into(), &schema, key),
                    None => self.refuse(key, format!("{number} is not a finite number{}", range(&schema)), ""),
                }
            }
            other => self.wrong_type(other, &schema, &types, key),
        }
    }

    fn table(&mut self, table: &DeTable<'_>, schema: &Value, key: &str) -> Option<Value> {
        let none = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&none);
        let others = schema.get("additionalProperties").filter(|s| s.is_object());
        let mut usable = Map::new();
        let mut complete = true;
        let required = |name: &str| schema["required"].as_array().is_some_and(|r| r.iter().any(|k| k == name));
        for (name, value) in table {
            let path = if key.is_empty() { name.get_ref().to_string() } else { format!("{key}.{}", name.get_ref()) };
            self.places.spans.insert(path.clone(), name.span());
            let Some(schema) = known.get(name.get_ref().as_ref()).or(others) else {
                self.unknown(&path, name.get_ref(), known);
                continue;
            };
            match self.value(value.get_ref(), schema, &path) {
                Some(value) => drop(usable.insert(name.get_ref().to_string(), value)),
                None => complete &= !required(name.get_ref()),
            }
        }
        for name in known.keys().filter(|name| required(name) && !table.contains_key(name.as_str())) {
            complete = false;
            let place = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let about = known[name]["description"].as_str().unwrap_or_default();
            self.places.error(
                &place,
                "is missing".into(),
                &format!("add `{name} = …`: {}", lower_first(about).trim_end_matches('.')),
            );
        }
        complete.then_some(Value::Object(usable))
    }

    fn array(&mut self, array: &[Spanned<DeValue<'_>>], schema: &Value, key: &str) -> Option<Value> {
        let (least, most) = (schema["minItems"].as_u64(), schema["maxItems"].as_u64());
        let count = array.len() as u64;
        if least.is_some_and(|n| count < n) || most.is_some_and(|n| count > n) {
            let wanted = least.or(most).unwrap_or_default();
            return self.refuse(key, format!("has {count} values, must have {wanted}"), "");
        }
        let items: Vec<_> = array
            .iter()
            .enumerate()
            .map(|(n, item)| {
                let path = format!("{key}[{n}]");
                self.places.spans.insert(path.clone(), item.span());
                self.value(item.get_ref(), &schema["items"], &path)
            })
            .collect();
        items.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn string(&mut self, text: &str, schema: &Value, key: &str) -> Option<Value> {
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|least| length < least) {
            return self.refuse(key, "is empty".into(), "leave the key out for its default");
        }
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            return self.refuse(key, format!("has {length} characters, at most {most} are allowed"), "");
        }
        if let Some(allowed) = schema["enum"].as_array() {
            let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            if !names.contains(&text) {
                let hint = suggestion(text, &names);
                return self.refuse(key, format!("{text:?} is not known"), &hint);
            }
        }
        Some(text.into())
    }

    fn in_range(&mut self, number: Value, schema: &Value, key: &str) -> Option<Value> {
        let n = number.as_f64()?;
        let low = schema["minimum"].as_f64().is_some_and(|least| n < least);
        let high = schema["maximum"].as_f64().is_some_and(|most| n > most);
        if low || high {
            return self.refuse(key, format!("{n} is too {}{}", if low { "small" } else { "large" }, range(schema)), "");
        }
        Some(number)
    }

    fn refuse(&mut self, key: &str, message: String, hint: &str) -> Option<Value> {
        self.places.error(key, message, hint);
        None
    }

    fn unknown(&mut self, path: &str, name: &str, known: &Map<String, Value>) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(best) => format!("did you mean `{best}`?"),
            None => self.elsewhere(name).unwrap_or_else(|| suggestion(name, &names)),
        };
        self.places.error(path, "unknown key".into(), &hint);
    }

    /// The section that has a key of this name.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let sections = self.root["properties"].as_object()?;
        let section = sections.iter().find(|(_, s)| !self.resolve(s)["properties"][name].is_null())?.0;
        Some(format!("`{name}` belongs under [{section}]"))
    }

    fn wrong_type(&mut self, value: &DeValue<'_>, schema: &Value, types: &[&str], key: &str) -> Option<Value> {
        let wanted = match types {
            ["integer", ..] => "a whole number",
            ["number", ..] => "a number",
            ["string", ..] => "a text in quotes",
            ["array", ..] => "a list in [ ]",
            ["object", ..] => "a section",
            ["boolean", ..] => "true or false",
            _ => "something else",
        };
        let found = match value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        let hint = match (value, types) {
            (DeValue::String(text), ["integer" | "number", ..]) if text.parse::<f64>().is_ok() => "leave out the quotes".into(),
            (DeValue::Table(_), ["array", ..]) if types_of_items(self, schema) => format!("write [[{key}]], with two brackets"),
            (DeValue::String(text), ["array", ..]) => format!("write [{text:?}]"),
            _ => String::new(),
        };
        self.refuse(key, format!("is {found}, must be {wanted}{}", range(schema).replace(" must be", "")), &hint)
    }

    /// Follows `$ref`, and takes what is not `null` of an `anyOf`.
    fn resolve(&self, schema: &Value) -> Value {
        let any = schema["anyOf"].as_array().and_then(|any| any.iter().find(|s| s["type"] != "null"));
        match any.unwrap_or(schema)["$ref"].as_str() {
            Some(name) => self.root.pointer(name.trim_start_matches('#')).cloned().unwrap_or_default(),
            None => any.unwrap_or(schema).clone(),
        }
    }
}

fn types_of_items(walk: &Walk<'_>, schema: &Value) -> bool {
    types(&walk.resolve(&schema["items"])).contains(&"object")
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => Vec::new(),
    }
}

/// `, must be 1 to 64`.
fn range(schema: &Value) -> String {
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (None, None) => String::new(),
        (Some(least), None) => format!(", must be at least {least}"),
        (None, Some(most)) => format!(", must be at most {most}"),
        (Some(least), Some(most)) => format!(", must be {least} to {most}"),
    }
}

/// The likely one, or all that there are.
#[must_use]
pub fn suggestion(word: &str, names: &[&str]) -> String {
    match nearest(word, names.iter().copied()) {
        Some(best) => format!("did you mean `{best}`?"),
        None => format!("there are {}", names.join(", ")),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
