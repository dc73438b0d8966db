//! The view `alerts` in a snapshot: everything that it remembers, as JSON. Maps are lists of pairs, because JSON's keys are texts.

use std::collections::BTreeMap;

use alerts::{Alert, Event};
use serde::{Deserialize, Serialize};

use super::alerts_view::{AlertsView, Told};
use super::episodes::Gates;
use super::signals::{Line, Signal};
use super::thresholds::Watch;
use super::{Rule, Rules};
use crate::store::views;

#[derive(Serialize, Deserialize)]
struct Saved {
    rules: Vec<Rule>,
    open: BTreeMap<String, (Event, i64)>,
    gates: Vec<u8>,
    watches: Vec<(String, SavedLine, Watch)>,
    latest: Vec<(SavedLine, i64, BTreeMap<String, f64>)>,
    firing: Vec<Alert>,
    over: Vec<(String, i64)>,
    forgotten_at: i64,
}

impl AlertsView {
    /// What it remembers.
    ///
    /// # Errors
    /// Never, unless a number is none.
    pub fn save(&self) -> anyhow::Result<Vec<u8>> {
        let (mut firing, mut over) = (Vec::new(), Vec::new());
        for (id, told) in &self.told {
            match told {
                Told::Firing(alert) => firing.push((**alert).clone()),
                Told::Over(at) => over.push((id.clone(), *at)),
            }
        }
        let latest = self.latest.iter().flat_map(|latest| latest.values());
        let saved = Saved {
            rules: self.rules.clone(),
            open: self.open.clone(),
            gates: postcard::to_allocvec(&self.gates)?,
            watches: self
                .watches
                .iter()
                .map(|((rule, line), watch)| (rule.clone(), saved_line(line.clone()), watch.clone()))
                .collect(),
            latest: latest.map(|signal| (saved_line(signal.line()), signal.ts, signal.values.clone())).collect(),
            firing,
            over,
            forgotten_at: self.forgotten_at,
        };
        Ok(serde_json::to_vec(&saved)?)
    }

    /// Takes over what another remembered, its rules included.
    ///
    /// # Errors
    /// If it is of another form.
    pub fn load(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let saved: Saved = serde_json::from_slice(bytes)?;
        self.rules = saved.rules;
        self.open = saved.open;
        self.gates = postcard::from_bytes::<Gates>(&saved.gates)?;
        let watches = saved.watches.into_iter();
        self.watches = watches.filter_map(|(rule, saved, watch)| Some(((rule, line(saved)?), watch))).collect();
        if let Some(latest) = &mut self.latest {
            let signals = saved.latest.into_iter().filter_map(|(saved, ts, values)| {
                let Line { view, venue, symbol, rest } = line(saved)?;
                Some(Signal { view, venue, symbol, rest, ts, values })
            });
            *latest = signals.map(|signal| (signal.line(), signal)).collect();
        }
        self.told = saved.firing.into_iter().map(|alert| (alert.event.id.clone(), Told::Firing(Box::new(alert)))).collect();
        self.told.extend(saved.over.into_iter().map(|(id, at)| (id, Told::Over(at))));
        self.forgotten_at = saved.forgotten_at;
        Ok(())
    }
}

impl Rules {
    /// The rules in what [`AlertsView::save`] wrote, whatever else this version makes of it.
    ///
    /// # Errors
    /// If there are none that it can read.
    pub fn of_saved(saved: impl std::io::Read) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Saved {
            rules: Vec<Rule>,
        }
        let Saved { rules } = serde_json::from_reader(saved)?;
        Ok(Self(rules))
    }
}

/// A line as a file has it: view, venue, symbol, what else makes it the same.
type SavedLine = (String, String, String, BTreeMap<String, String>);

fn saved_line(line: Line) -> SavedLine {
    (line.view.to_owned(), line.venue, line.symbol, line.rest)
}

/// `None`: the view is not there any more.
fn line((view, venue, symbol, rest): SavedLine) -> Option<Line> {
    Some(Line { view: views::named(&view)?.name, venue, symbol, rest })
}

/// A map whose keys are times or pairs, as a list.
pub(super) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(map: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
