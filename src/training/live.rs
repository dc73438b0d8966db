//! Models while a run goes on: what `models.json` comes to say is handed to the dataflow, and refits are made on schedule.
//!
//! The feeder calls [`LiveModels::tick`] now and then. Entries that were added to the listing, by the command line or by a refit, are released
//! from their bar on. Refits ([`super::refits`]) run on threads of their own and hand over candidates; the feeder writes their entries,
//! because only it knows which bar is next: what `models.json` says is what the run does, so a replay that reads it says the same.
//! Nothing here stops the run: what fails is logged and counted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use crossbeam_channel::Sender;
use dataflows::model::Timeframe;
use dataflows::models::Status;

use super::refits::Refits;
use crate::engine::Input;
use crate::model_dir::promotion::{Bounds, reasons_against};
use crate::model_dir::shelf::{self, ShelfError};
use crate::model_dir::standing::{self, Standing};
use crate::model_dir::{self, Entry, Listing, MODELS_FILE};
use crate::store::edge::{EdgeRow, ModelRow};

/// How often the directory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The feeder waits for another writer no longer than this; it tries again at the next look.
const LOCK_MAX: Duration = Duration::from_millis(100);

/// The models of a run.
pub struct LiveModels {
    dir: PathBuf,
    /// Entries that the dataflow knows.
    known: Vec<Entry>,
    /// Of `models.json` when it was last read.
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
    refits: Option<Refits>,
    /// Refits that are not listed yet.
    waiting: Vec<Entry>,
    bounds: Option<Bounds>,
    edge: Sender<EdgeRow>,
}

impl LiveModels {
    /// `known` is what the run was started with. `bounds`: refits within them take over by themselves.
    #[must_use]
    pub fn new(dir: PathBuf, known: Listing, refits: Option<Refits>, bounds: Option<Bounds>, edge: Sender<EdgeRow>) -> Self {
        let stamp = stamp(&dir);
        let looked = Instant::now();
        Self { dir, known: known.releases, stamp, looked, refits, waiting: Vec::new(), bounds, edge }
    }

    /// Looks whether a refit is due or done, and whether the listing has grown. Costs nothing most of the time.
    pub fn tick(&mut self, input: &mut Input) {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            self.look(input);
        }
    }

    /// As [`Self::tick`], at once.
    pub fn look(&mut self, input: &mut Input) {
        if let Some(refits) = &mut self.refits {
            self.waiting.extend(refits.tick(input.known_at()));
        }
        if !self.waiting.is_empty()
            && let Err(error) = self.list(input)
        {
            tracing::warn!(%error, candidates = self.waiting.len(), "refits are not listed yet, trying again");
        }
        if self.stamp != stamp(&self.dir)
            && let Err(error) = self.read(input)
        {
            tracing::error!(
                error = format!("{error:#}"),
                "models.json has changed and can't be read; the run goes on with what it knows"
            );
        }
    }

    /// Ends refits that are under way.
    pub fn finish(self) {
        if let Some(refits) = self.refits {
            refits.finish();
        }
    }

    /// Writes the entries of refits: a candidate, and its takeover if it is within bounds.
    fn list(&mut self, input: &Input) -> Result<(), ShelfError> {
        let (waiting, bounds) = (&self.waiting, &self.bounds);
        shelf::change_within(&self.dir, LOCK_MAX, |listing| {
            let mut added = Vec::new();
            for candidate in waiting {
                let Some(timeframe) = Timeframe::from_name(&candidate.timeframe) else { continue };
                let active_from = input.next_bar(timeframe).max(0);
                let candidate = Entry { active_from, ..candidate.clone() };
                let reasons = bounds.as_ref().map(|bounds| reasons_against(listing, &candidate, bounds));
                let takes_over = reasons.as_ref().is_some_and(Vec::is_empty);
                let why: Vec<String> = reasons.iter().flatten().map(ToString::to_string).collect();
                tracing::info!(model = %candidate.id(), takes_over, why = why.join("; "), "a refit is a candidate");
                added.push(candidate.clone());
                if takes_over {
                    added.push(Entry { status: Status::Active, ..candidate });
                }
            }
            Ok::<_, ShelfError>(added)
        })?;
        self.waiting.clear();
        Ok(())
    }

    /// Releases what has been added to the listing.
    fn read(&mut self, input: &mut Input) -> anyhow::Result<()> {
        // Noted first: a listing that can't be read is told of once, and read again when it changes.
        self.stamp = stamp(&self.dir);
        let listing = model_dir::read_listing(&self.dir)?;
        let known = self.known.len();
        anyhow::ensure!(
            listing.releases.get(..known).is_some_and(|same| same == self.known),
            "entries were changed or taken out; they are only ever added (going back is `regimeflow model rollback`)"
        );
        let added = &listing.releases[known..];
        let releases = model_dir::releases(&self.dir, added)?;
        let rows = self.rows(&listing, added, input.known_at())?;
        for release in releases {
            let (model, wanted) = (release.model.id.clone(), release.from());
            let Some(from) = input.release(release) else { anyhow::bail!("the workers are gone") };
            if from > wanted {
                tracing::warn!(%model, wanted, from, "a model was released after its bar had begun, and counts from the next one");
            }
        }
        for row in rows {
            let _ = self.edge.send(EdgeRow::Model(Box::new(row))); // the keeper is gone only when the run is being torn down
        }
        self.known = listing.releases;
        Ok(())
    }

    /// How the view `models` changes.
    fn rows(&self, listing: &Listing, added: &[Entry], known_at: i64) -> anyhow::Result<Vec<ModelRow>> {
        let targets: BTreeSet<(&str, &str)> = added
            .iter()
            .flat_map(|entry| entry.symbols.iter().map(|symbol| (symbol.as_str(), entry.timeframe.as_str())))
            .collect();
        let of = |entries: &[Entry]| -> anyhow::Result<Vec<Standing>> {
            let meant = |entry: &&Entry| entry.symbols.iter().any(|symbol| targets.contains(&(symbol, &entry.timeframe)));
            let all = standing::of(&self.dir, &Listing { releases: entries.iter().filter(meant).cloned().collect() })?;
            Ok(all.into_iter().filter(|row| targets.contains(&(row.symbol.as_str(), row.timeframe.as_str()))).collect())
        };
        let (before, after) = (of(&self.known)?, of(&listing.releases)?);
        let known_at = u64::try_from(known_at).unwrap_or_default();
        let gone =
            before.iter().filter(|row| !after.contains(row)).cloned().map(|standing| ModelRow { standing, known_at, diff: -1 });
        let come =
            after.iter().filter(|row| !before.contains(row)).cloned().map(|standing| ModelRow { standing, known_at, diff: 1 });
        Ok(gone.chain(come).collect())
    }
}

/// Enough to see that a file has been put in another's place.
fn stamp(dir: &Path) -> Option<(SystemTime, u64)> {
    let data = std::fs::metadata(dir.join(MODELS_FILE)).ok()?;
    Some((data.modified().ok()?, data.len()))
}

/// The listing of a directory that may have none yet.
///
/// # Errors
/// If it has one that can't be read.
pub fn listing_if_any(dir: &Path) -> anyhow::Result<Listing> {
    let path = dir.join(MODELS_FILE);
    let exists = path.try_exists().with_context(|| format!("looking for {}", path.display()))?;
    if exists { model_dir::read_listing(dir) } else { Ok(Listing::default()) }
}
