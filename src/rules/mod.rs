//! Rules: which of what the views say people want to hear, as data.
//!
//! A rule asks for episodes (`event_types`) or watches a number of a view (`view`, `column`). Rules are an input like any other: [`AlertsView`] joins
//! them with what the views say, its rows are the view `alerts`, +1 fires and −1 resolves. Editing the files changes the set while it runs: a new
//! rule is judged against what is true now, a removed one resolves what it alone asked for. Without files there is one rule: everything that is an episode.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alerts::policy::glob_matches;
use alerts::{Event, EventType, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::document::{Places, suggestion};
use crate::config::load::{parse_as, text};
use crate::config::{ConfigErrors, Problem};
use crate::store::views;

mod alerts_view;
mod episodes;
mod explain;
mod saved;
mod signals;
#[cfg(test)]
mod tests;
mod thresholds;

pub use alerts_view::{AlertsView, Said};
pub use explain::Mismatch;

/// Most rules in all files together.
const RULES_MAX: usize = 1_000;

/// One file of rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RuleFile {
    /// The rules.
    rules: Vec<Rule>,
}

/// What somebody wants to hear of: episodes by `event_types`, or a number of a view by `view`, `column` and `fire`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Unique over all files. State is kept by it: a renamed rule is another one.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Episodes of these types; with neither these nor `view`: of every type.
    #[schemars(with = "Vec<String>")]
    pub event_types: Vec<EventType>,
    /// A view whose rows are watched: `funding`.
    pub view: Option<String>,
    /// A number of the view: `z_30d`. Of episodes: a number of `data` that is compared once.
    pub column: Option<String>,
    /// Where it fires: `above`, `below` or `outside` (further from zero than) `fire`.
    pub comparison: Comparison,
    /// It fires beyond this.
    pub fire: Option<f64>,
    /// It is over once the number is back at this or within; as `fire`, where it is left out.
    pub clear: Option<f64>,
    /// Only rows with these values: `{ window = "5m" }`, `{ timeframe = "1h" }`.
    pub only: BTreeMap<String, String>,
    /// Any of these symbols, as globs (`BTC-*`); empty: all.
    pub symbols: Vec<String>,
    /// Any of these venues, as globs; empty: all.
    pub venues: Vec<String>,
    /// At least so grave, as the views say it.
    #[schemars(with = "Option<String>")]
    pub severity_min: Option<Severity>,
    /// So grave, whatever the views say.
    #[schemars(with = "Option<String>")]
    pub severity: Option<Severity>,
    /// It must be true for so long (event time) before it fires, in seconds.
    #[schemars(range(max = 604_800))]
    pub hold_s: u64,
    /// After an alert of this rule on a symbol began, no other begins for so long, in seconds.
    #[schemars(range(max = 604_800))]
    pub cooldown_s: u64,
    /// Put on the alert, for routes and receivers.
    pub labels: BTreeMap<String, String>,
}

/// Where a number is out of bounds: more than the bound, less, or further from zero.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    #[default]
    Above,
    Below,
    Outside,
}

impl Comparison {
    /// As files write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Below => "below",
            Self::Outside => "outside",
        }
    }

    /// Whether the value lies beyond the bound.
    #[must_use]
    pub fn is_beyond(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Above => value > bound,
            Self::Below => value < bound,
            Self::Outside => value.abs() > bound,
        }
    }
}

impl Rule {
    /// It watches a number of a view.
    #[must_use]
    pub fn is_threshold(&self) -> bool {
        self.view.is_some()
    }

    fn speaks_of(&self, symbol: &str, venue: &str) -> bool {
        self.speaks_of_symbol(symbol) && any(&self.venues, venue)
    }

    fn speaks_of_symbol(&self, symbol: &str) -> bool {
        any(&self.symbols, symbol)
    }

    /// Whether it asks for an episode, hold and cooldown aside.
    fn asks_for(&self, event: &Event) -> bool {
        self.mismatch(event).is_none()
    }

    fn hold_ms(&self) -> i64 {
        crate::config::integer(self.hold_s.saturating_mul(1_000))
    }

    fn cooldown_ms(&self) -> i64 {
        crate::config::integer(self.cooldown_s.saturating_mul(1_000))
    }
}

fn any(globs: &[String], text: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob_matches(glob, text))
}

/// The set of rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules(pub Vec<Rule>);

impl Default for Rules {
    /// Every episode, of feeds that went silent too.
    fn default() -> Self {
        Self(vec![Rule { name: "everything".into(), ..Rule::default() }])
    }
}

impl Rules {
    /// Reads all `*.toml` of a directory, in the order of their names.
    ///
    /// # Errors
    /// Everything that is wrong with all of them.
    pub fn load(directory: &Path) -> Result<(Self, Vec<Problem>), ConfigErrors> {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        for path in files(directory)? {
            match read(&path) {
                Ok((file, warnings)) => {
                    rules.extend(file.rules.into_iter().map(|rule| (path.display().to_string(), rule)));
                    problems.extend(warnings);
                }
                Err(errors) => problems.extend(errors.problems),
            }
        }
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let whole = |file: &str, message: String, hint: &str| Problem {
            file: file.into(),
            line: 0,
            column: 0,
            key: String::new(),
            message,
            hint: hint.into(),
            warning: false,
        };
        for (file, rule) in &rules {
            if let Some(other) = seen.insert(&rule.name, file).filter(|other| other != file) {
                problems.push(whole(
                    file,
                    format!("rule `{}` is in {other} too", rule.name),
                    "a rule's name is unique over all files",
                ));
            }
        }
        if rules.len() > RULES_MAX {
            let message = format!("{} rules, at most {RULES_MAX} are allowed", rules.len());
            problems.push(whole(&directory.display().to_string(), message, "globs in `symbols` make one rule of many"));
        }
        if problems.iter().any(|problem| !problem.warning) {
            problems.sort();
            return Err(ConfigErrors { problems });
        }
        Ok((Self(rules.into_iter().map(|(_, rule)| rule).collect()), problems))
    }
}

/// The rule files of a directory, sorted.
///
/// # Errors
/// If the directory can't be read.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>, ConfigErrors> {
    let failed = |e: std::io::Error| {
        let (file, hint) = (directory.display().to_string(), "`alerts.rules` names a directory of *.toml files".to_owned());
        let message = format!("read the rules: {e}");
        ConfigErrors { problems: vec![Problem { file, line: 0, column: 0, key: String::new(), message, hint, warning: false }] }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<(RuleFile, Vec<Problem>), ConfigErrors> {
    let text = text(path, "the rules", "it is one of the files of `alerts.rules`")?;
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, file: &str) -> Result<(RuleFile, Vec<Problem>), ConfigErrors> {
    parse_as(text, file, &schema(), |file: &RuleFile, places| {
        let mut seen = BTreeMap::new();
        for (n, rule) in file.rules.iter().enumerate() {
            check(rule, &format!("rules[{n}]"), places);
            if let Some(first) = seen.insert(&rule.name, n) {
                let message = format!("{:?} is the name of rule {first} too", rule.name);
                places.error(&format!("rules[{n}].name"), message, "a rule's name is unique");
            }
        }
    })
}

/// The schema of a file of rules.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RuleFile).to_value();
    let types: Value = EventType::ALL.iter().map(|t| t.as_str()).collect();
    if let Some(rule) = schema.pointer_mut("/$defs/Rule/properties") {
        rule["event_types"]["items"]["enum"] = types;
        for key in ["severity", "severity_min"] {
            rule[key]["enum"] = serde_json::json!(["INFO", "WARNING", "CRITICAL"]);
        }
        rule["view"]["enum"] = signals::watchable().collect();
    }
    if let Some(rule) = schema.pointer_mut("/$defs/Rule") {
        rule["required"] = serde_json::json!(["name"]);
    }
    schema
}

/// What one key of a rule demands of another.
fn check(rule: &Rule, key: &str, places: &mut Places) {
    if let Some(view) = &rule.view {
        if !rule.event_types.is_empty() {
            places.error(
                &format!("{key}.event_types"),
                "a rule that watches a view has no event types".into(),
                "make two rules of it",
            );
        }
        if rule.column.is_none() {
            places.error(
                &format!("{key}.view"),
                format!("names no column of {view}"),
                "add `column = \"…\"`, a number of that view",
            );
        }
        let columns = signals::columns(view);
        if let Some(column) = rule.column.as_deref().filter(|column| !columns.is_empty() && !columns.contains(column)) {
            let message = format!("{column:?} is no number of {view}");
            places.error(&format!("{key}.column"), message, &suggestion(column, &columns));
        }
        if rule.fire.is_none() {
            places.error(&format!("{key}.view"), "says not where it fires".into(), "add `fire = …`");
        }
        let keys = views::named(view).map_or(&[][..], |view| view.key);
        for name in rule.only.keys().filter(|name| !keys.contains(&name.as_str())) {
            places.error(&format!("{key}.only.{name}"), format!("{name:?} is no key of {view}"), &suggestion(name, keys));
        }
    } else {
        if rule.clear.is_some() {
            let hint = "an episode is over when its view says so";
            places.error(&format!("{key}.clear"), "only a rule with `view` has a place to clear at".into(), hint);
        }
        if rule.fire.is_some() != rule.column.is_some() {
            let message = "a comparison needs both `column` and `fire`".into();
            places.error(&format!("{key}.fire"), message, "name a number of the event's data, and its bound");
        }
    }
    if let (Some(fire), Some(clear)) = (rule.fire, rule.clear)
        && rule.comparison.is_beyond(clear, fire)
    {
        let message = format!("{clear} lies beyond `fire`, {fire}");
        places.error(&format!("{key}.clear"), message, "it would be over while it still fires: bring it back within");
    }
    if rule.comparison == Comparison::Outside && rule.fire.is_some_and(|fire| fire < 0.0) {
        places.error(&format!("{key}.fire"), "is negative".into(), "`outside` compares with the distance from zero");
    }
}
