//! `regimeflow alerts check`: all that is wrong with what alerts follow from, at once; otherwise what there is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use alerts::policy::{PolicyConfig, glob_matches};
use serde_json::{Value, json};

use super::list::words;
use super::time::length;
use super::{plain, plural, print, print_json, report};
use crate::cli::EX_CONFIG;
use crate::cli::config::to_json;
use crate::config::{Config, ConfigErrors, Problem, integer, load};
use crate::notify::{self, Way};
use crate::rules::{Rule, Rules};

/// Arguments of `alerts check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Configuration; without it only the environment's WEBHOOKS_… are known.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Rules, instead of those that the configuration names.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// What there is, and what is wrong with it.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    rules: Vec<Rule>,
    ways: Vec<Way>,
    policy: PolicyConfig,
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let found = look(args);
    let errors = found.problems.iter().filter(|problem| !problem.warning).count();
    let is_right = errors == 0;
    if args.json {
        let problems: Vec<Value> = found.problems.iter().map(to_json).collect();
        let channels = found.ways.iter().map(|way| json!({"channel": way.name, "kind": way.kind, "from": way.from}));
        let channels: Vec<Value> = channels.collect();
        print_json(&json!({
            "ok": is_right, "problems": problems, "rules": found.rules, "channels": channels, "routes": found.policy.routes,
            "inhibitions": found.policy.inhibitions, "quiet_hours": found.policy.quiet_hours,
        }))?;
    } else {
        found.problems.iter().for_each(|problem| eprintln!("{problem}"));
        print(&if is_right { tables(&found) } else { format!("{}\n", plural(errors, "error")) })?;
    }
    Ok(ExitCode::from(if is_right { 0 } else { EX_CONFIG }))
}

fn look(args: &CheckArgs) -> Found {
    let mut found = Found::default();
    let config = match args.config.as_deref().map(load::read) {
        None => Some(Config::default()),
        Some(Ok((config, warnings))) => {
            found.problems.extend(warnings);
            Some(config)
        }
        Some(Err(errors)) => {
            found.problems.extend(errors.problems);
            None
        }
    };
    // A configuration with mistakes may still say where its rules are.
    let named = config.as_ref().and_then(|config| config.alerts.rules.clone());
    let directory = args.rules.clone().or(named).or_else(|| named_in(args.config.as_deref().filter(|_| config.is_none())?));
    let mut has_rules = true;
    match directory.map_or_else(|| Ok((Rules::default(), Vec::new())), |directory| Rules::load(&directory)) {
        Ok((rules, warnings)) => {
            found.problems.extend(warnings);
            found.rules = rules.0;
        }
        Err(ConfigErrors { problems }) => {
            found.problems.extend(problems);
            has_rules = false;
        }
    }
    if let Some(config) = &config {
        let file = args.config.as_ref().map_or_else(|| "environment".to_owned(), |path| path.display().to_string());
        found.ways_and_routes(config, &file, has_rules);
    }
    found
}

/// The directory of rules that a file with mistakes names.
fn named_in(path: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(path).ok()?;
    let table: toml::Table = text.parse().ok()?;
    table.get("alerts")?.get("rules")?.as_str().map(PathBuf::from)
}

impl Found {
    fn ways_and_routes(&mut self, config: &Config, file: &str, has_rules: bool) {
        let mut report = |key: &str, message: String, hint: &str, warning: bool| {
            let (file, key, message, hint) = (file.to_owned(), key.to_owned(), plain(&message), hint.to_owned());
            self.problems.push(Problem { file, line: 0, column: 0, key, message, hint, warning });
        };
        let ways = match notify::ways(config) {
            Ok(ways) => ways,
            Err(e) => return report("alerts.allow_addresses", format!("{e:#}"), "", false),
        };
        for way in &ways {
            if let Err(e) = &way.made {
                report(way.from, format!("{e:#}"), "", false);
            }
        }
        let policy = notify::policy_of(config, &ways);
        // What is wrong with the written part has been told with its place in the file.
        if let Some(errors) = policy.check().err().filter(|_| config.alerts.policy().check().is_ok()) {
            errors.0.into_iter().for_each(|e| report(&e.place, e.reason, "", false));
        }
        for way in &ways {
            let takes = |channels: &[String]| channels.contains(&way.name);
            let is_told = policy.routes.iter().any(|route| {
                takes(&route.channels) || route.escalation.as_ref().is_some_and(|escalation| takes(&escalation.channels))
            });
            if !is_told {
                let hint = "name it in one, or leave it out";
                report("alerts.routes", format!("no route leads to the channel {:?}: it is told nothing", way.name), hint, true);
            }
        }
        for route in policy.routes.iter().filter(|_| has_rules) {
            let is_there = |glob: &String| self.rules.iter().any(|rule| glob_matches(glob, &rule.name));
            for glob in route.matcher.rules.iter().filter(|glob| !is_there(glob)) {
                let message = format!("the route {:?} asks for the rule {glob:?}, and there is none", route.name);
                report("alerts.routes", message, "rules are known by their names", true);
            }
        }
        (self.ways, self.policy) = (ways, policy);
    }
}

fn tables(found: &Found) -> String {
    let span = |s: u64| if s == 0 { String::new() } else { length(integer(s.saturating_mul(1_000))) };
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let rules = found.rules.iter().map(|rule| {
        let symbols = if rule.symbols.is_empty() { "all".to_owned() } else { rule.symbols.join(" ") };
        let fire = rule.fire.map_or_else(String::new, |fire| format!("{} {fire}", rule.comparison.as_str()));
        let clear = number(rule.clear.or(rule.fire.filter(|_| rule.is_threshold())));
        vec![plain(&rule.name), plain(&watches(rule)), fire, clear, span(rule.hold_s), span(rule.cooldown_s), plain(&symbols)]
    });
    let mut text = format!("{}\n", report::table(&["rule", "watches", "fire", "clear", "hold", "cooldown", "symbols"], rules));
    if found.ways.is_empty() {
        return text + "\nno channels: what is an alert is kept in the view `alerts`, and nobody is told\n";
    }
    let ways = found.ways.iter().map(|way| vec![plain(&way.name), way.kind.to_owned(), way.from.to_owned()]);
    text += &format!("\n{}\n", report::table(&["channel", "kind", "from"], ways));
    let routes = found.policy.routes.iter().map(|route| {
        let together: Vec<String> = route.group_by.iter().map(|by| String::from(by.clone())).collect();
        let ms = |ms: Option<i64>| ms.map_or_else(String::new, length);
        let escalation = route.escalation.as_ref();
        let escalation = escalation.map(|e| format!("{} after {}", e.channels.join(", "), length(e.after_ms)));
        vec![
            plain(&route.name),
            words(&route.matcher),
            plain(&route.channels.join(", ")),
            plain(&together.join(", ")),
            ms(route.repeat_ms),
            plain(&escalation.unwrap_or_default()),
            plain(&route.quiet_hours.join(", ")),
        ]
    });
    let header = ["route", "takes", "tells", "together by", "reminds after", "escalates to", "quiet hours"];
    text + &format!("\n{}\n", report::table(&header, routes))
}

/// What a rule watches.
fn watches(rule: &Rule) -> String {
    let only = rule.only.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
    let column = rule.column.as_deref().unwrap_or_default();
    match &rule.view {
        Some(view) => format!("{view}.{column}{only}"),
        None => {
            let types: Vec<&str> = rule.event_types.iter().map(|t| t.as_str()).collect();
            let types = if types.is_empty() { "every episode".to_owned() } else { types.join(" ") };
            let least = rule.severity_min.map_or_else(String::new, |least| format!(" from {}", least.as_str()));
            let column = if column.is_empty() { String::new() } else { format!(" by {column}") };
            format!("{types}{least}{only}{column}")
        }
    }
}
