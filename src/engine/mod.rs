//! The engine: the only place where a thread hands data to timely and back.
//!
//! [`Input`] is the feeder's side: it cuts arrival into quanta and deals batches out to workers in turn. Each worker parses
//! its batches where timely calls it ([`source`]), runs the graph, and sends what the views changed to [`output`], where a
//! collector puts the quanta together again. Every channel is bounded, so a slow store slows the feeder down and nothing piles up.
//!
//! With several processes ([`crate::cluster`]) the workers of all are one dataflow, and each process has an input and a collector of its own: what it
//! reads, and the rows of the instruments that its workers hold. A quantum is complete when it is in all of them. `pace` bounds
//! what is under way between processes, `telling` takes alerts to the one that tells people, `agreement` says what is durable in all of them.

mod agreement;
mod input;
mod output;
mod pace;
mod source;
mod telling;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};
use dataflows::graph;
use dataflows::hot::Counters;
use dataflows::keeping::{Keep, Keeping, SavedState, States};
use dataflows::model::{BaseRow, Changes, Clock, Instruments};
use dataflows::models::Release;
use dataflows::processes::Processes;
use timely::WorkerConfig;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::core::InspectCore;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::{ProbeHandle, Scope, StreamVec};
use timely::worker::Worker;

use crate::accounts::Accounts;
use crate::cluster::{Joined, Lost};
use crate::recovery::Entry;
pub use agreement::{Agreement, CommonSnapshots, Start};
use input::{Dealing, Message, Paces, Quantum};
pub use input::{Input, Past};
pub use output::{Bundle, Collector, Next};
use pace::Pace;
pub use pace::Reached;
pub use source::ParserFactory;
use source::Told;
pub use telling::{Answering, Asking, Teller};

/// Batches under way to one worker.
const INPUT_BATCHES_MAX: usize = 4;
/// Messages under way to the collector.
const OUTPUT_MESSAGES_MAX: usize = 1_024;

/// Batches that a process may be ahead of the others, for each worker of all of them.
const BATCHES_AHEAD_MAX: usize = 8;
/// The same of what an earlier run left, in hand-overs to a worker.
const HAND_OVERS_AHEAD_MAX: usize = 8;
/// Live, batches are small, and clocks of hosts differ.
const LIVE_BATCHES_AHEAD_MAX: usize = 1_024;
/// Several hosts' silence is compared this many quanta generously.
const SILENCE_SLACK: u64 = 2;

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads.
    pub workers: usize,
    /// Frames that arrive in one quantum share a timestamp.
    pub quantum_ms: u64,
    /// A venue that has been silent for so long no longer holds anything up.
    pub idle_ms: u64,
    /// Events further ahead of their arrival than this are refused.
    pub ahead_ms_max: i64,
    /// What enters is handed out beside what follows from it, and what an earlier run left can be put in.
    pub keeps_journal: bool,
    /// States that an earlier run saved; operators go on from them.
    pub states: Arc<States>,
    /// What the views are told.
    pub views: dataflows::config::Config,
    /// With several processes: all of them read the same frames, and each takes its share. Otherwise each has frames of its own.
    pub shares_frames: bool,
    /// With several processes: the first one tells people.
    pub tells: bool,
    /// With several processes that keep journals: where they begin.
    pub start: Option<Start>,
}

/// What the workers say.
#[derive(Debug)]
enum Output {
    Changes(Changes),
    /// What the hot path made of ticks in a quantum.
    Base(u64, Vec<BaseRow>),
    /// How far venues have come in a quantum.
    Clocks(u64, Vec<Clock>),
    /// What else entered in a quantum.
    Entered(u64, Entry),
    /// An operator's state after a quantum.
    Saved(SavedState),
    /// Every quantum before it is complete.
    Progress(u64),
}

/// A running dataflow.
pub struct Engine {
    /// Where frames go in. Dropping it (or [`Input::finish`]) ends the run.
    pub input: Input,
    /// Where quanta come out, in order.
    pub collector: Collector,
    /// The workers.
    pub running: Running,
    /// With several processes, and where people are told.
    pub teller: Option<Teller>,
    /// With several processes, and where journals are kept.
    pub agreement: Option<Agreement>,
}

/// The running workers and what they share.
pub struct Running {
    workers: JoinHandle<anyhow::Result<()>>,
    /// What became of every frame.
    pub accounts: Arc<Accounts>,
    /// What became of ticks.
    pub counters: Arc<Counters>,
    /// The names behind the ids.
    pub instruments: Arc<Instruments>,
    /// With several processes: who went away.
    pub lost: Option<Arc<Lost>>,
    /// How far everything is kept.
    pub reached: Arc<Reached>,
    /// A process's input has ended.
    ends: Arc<AtomicBool>,
}

impl Running {
    /// With several processes: one of them has come to the end of its input.
    #[must_use]
    pub fn a_process_ends(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    /// Waits for the workers to finish; the input must have been finished and the collector be read meanwhile.
    ///
    /// # Errors
    /// If a worker could not start or panicked, or another process is lost.
    pub fn join(self) -> anyhow::Result<()> {
        let ended = self.workers.join().map_err(|panic| anyhow::anyhow!("a worker died: {}", panic_text(&*panic)));
        match self.lost.as_ref().and_then(|lost| lost.who()) {
            Some(lost) => Err(lost.clone().into()),
            None => ended?,
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Starts the workers; they are ready for input when it returns. `models` are known before anything else. `joined`: the other processes.
///
/// # Errors
/// If there are no workers.
pub fn start(
    mut settings: Settings,
    instruments: Arc<Instruments>,
    parsers: ParserFactory,
    models: Vec<Release>,
    joined: Option<Joined>,
) -> anyhow::Result<Engine> {
    anyhow::ensure!(settings.workers > 0, "an engine of 0 workers can do nothing; set engine.workers to 1 or more");
    let workers = settings.workers;
    let (accounts, counters, ends) = (Arc::new(Accounts::default()), Arc::new(Counters::default()), Arc::default());
    let (to_collector, from_workers) = bounded(OUTPUT_MESSAGES_MAX);
    let wakers = source::Wakers::new(workers);
    let reached = Arc::new(Reached::default());
    let (mut dealing, mut paces, mut wires, mut teller) = (Dealing::alone(), Paces::default(), None, None);
    let (mut agreed, mut agreement) = (None, None);
    let lost = joined.as_ref().map(|joined| Arc::clone(&joined.lost));
    let is_first = joined.as_ref().is_none_or(|joined| joined.process == 0);
    if let Some(Joined { process, processes, lost, .. }) = &joined {
        let all = processes * workers;
        if settings.shares_frames {
            dealing = Dealing::among(*process, *processes);
        }
        let ahead = if settings.shares_frames { BATCHES_AHEAD_MAX * all } else { LIVE_BATCHES_AHEAD_MAX };
        let pace = |batches_max| Some(Pace::new(Arc::clone(&reached), Arc::clone(lost), batches_max));
        paces = Paces { batches: pace(ahead), restoring: pace(HAND_OVERS_AHEAD_MAX) };
        (wires, teller) = settings.tells.then(|| telling::wires(*process, workers, Arc::clone(lost))).unzip();
        let agree = |start| agreement::wires(*process, *processes, start, Arc::clone(lost));
        (agreed, agreement) = settings.start.map(agree).unzip();
    }
    let (ready, is_ready) = bounded(workers);
    let states = std::mem::take(&mut settings.states);
    let seat = |_| {
        let (sender, input) = bounded(INPUT_BATCHES_MAX);
        (sender, Some(Seat { input, states: Arc::clone(&states), ready: ready.clone() }))
    };
    let (senders, seats): (Vec<_>, Vec<_>) = (0..workers).map(seat).unzip();
    drop((states, ready)); // they are the workers'
    let quantum = Quantum::new(settings.quantum_ms);
    let mut input = Input::new(senders, wakers.clone(), quantum, settings.idle_ms, Arc::clone(&accounts), dealing, paces);
    let collector = Collector::new(from_workers, Arc::clone(&reached));
    let running = {
        let shared = Shared {
            settings,
            seats: Mutex::new(seats),
            wakers,
            to_collector,
            parsers,
            accounts: Arc::clone(&accounts),
            counters: Arc::clone(&counters),
            instruments: Arc::clone(&instruments),
            first: joined.as_ref().map(|joined| joined.process * workers),
            wires,
            agreed,
            ends: Arc::clone(&ends),
        };
        let work = move || shared.run(joined);
        std::thread::Builder::new().name("engine".into()).spawn(work).context("starting the engine's thread")?
    };
    for _ in 0..workers {
        match is_ready.recv() {
            Ok(None) => {}
            Ok(Some(failed)) => {
                anyhow::bail!("going on from a snapshot: {failed}; move the journal's directory away to begin anew")
            }
            Err(_) => break, // a worker died on the way; joining tells why
        }
    }
    for model in models.into_iter().filter(|_| is_first) {
        let _ = input.release(model); // if the workers are gone, the first frames tell
    }
    Ok(Engine {
        input,
        collector,
        running: Running { workers: running, accounts, counters, instruments, lost, reached, ends },
        teller,
        agreement,
    })
}

/// What belongs to one worker.
struct Seat {
    input: Receiver<Message>,
    /// What its operators begin with.
    states: Arc<States>,
    /// Told when they are built, and what went wrong.
    ready: Sender<Option<String>>,
}

/// What this process's workers share.
struct Shared {
    settings: Settings,
    seats: Mutex<Vec<Option<Seat>>>,
    wakers: source::Wakers,
    to_collector: Sender<Output>,
    parsers: ParserFactory,
    accounts: Arc<Accounts>,
    counters: Arc<Counters>,
    instruments: Arc<Instruments>,
    /// With several processes: the number of the first of them.
    first: Option<usize>,
    wires: Option<telling::Wires>,
    agreed: Option<agreement::Wires>,
    ends: Arc<AtomicBool>,
}

impl Shared {
    fn run(self, joined: Option<Joined>) -> anyhow::Result<()> {
        let workers = self.settings.workers;
        let built = match joined {
            None => timely::CommunicationConfig::Process(workers).try_build().map_err(anyhow::Error::msg),
            Some(joined) => joined.build(workers).map_err(anyhow::Error::from),
        };
        let (builders, guard) = built.with_context(|| format!("starting {workers} workers"))?;
        let guards = timely::execute::execute_from(builders, guard, WorkerConfig::default(), move |worker| self.work(worker));
        let guards = guards.map_err(|error| anyhow::anyhow!("starting {workers} workers: {error}"))?;
        for result in guards.join() {
            result.map_err(|error| anyhow::anyhow!("a worker died: {error}"))?;
        }
        Ok(())
    }

    fn work(&self, worker: &mut Worker) {
        let local = worker.index() - self.first.unwrap_or(0);
        let seat = self.seats.lock().ok().and_then(|mut seats| seats.get_mut(local)?.take());
        let Some(Seat { input, states, ready }) = seat else { return };
        let probe = ProbeHandle::new();
        let saved = self.to_collector.clone();
        let keep: Keep = Arc::new(move |state| {
            let _ = saved.send(Output::Saved(state)); // as below
        });
        let (peers, processes) = (worker.peers(), worker.peers() / self.settings.workers);
        let keeping = Keeping::new(worker.index(), peers, keep, states).of_processes(processes);
        worker.dataflow::<u64, _, _>(|scope| self.build(scope, local, input, keeping.clone(), &probe));
        if let Some(wires) = &self.wires {
            worker.dataflow::<u64, _, _>(|scope| telling::build(scope, wires, local == 0));
        }
        if let Some(agreed) = &self.agreed {
            worker.dataflow::<u64, _, _>(|scope| agreement::build(scope, agreed, local == 0));
        }
        let _ = ready.send(keeping.failed()); // nobody waits any more: as good
        drop((keeping, ready));
        let mut told = 0;
        while !probe.done() {
            worker.step_or_park(None);
            // One worker's probe speaks for all: progress is global, and their sends came before it.
            let complete = probe.with_frontier(|frontier| frontier.first().copied());
            if local == 0 && complete.is_some_and(|to| to > told) {
                told = complete.unwrap_or(told);
                let _ = self.to_collector.send(Output::Progress(told));
            }
        }
        if local == 0 {
            let _ = self.to_collector.send(Output::Progress(u64::MAX));
        }
    }

    fn build<'scope>(
        &self,
        scope: Scope<'scope, u64>,
        local: usize,
        input: Receiver<Message>,
        keeping: Keeping,
        probe: &ProbeHandle<u64>,
    ) {
        let keeps_journal = self.settings.keeps_journal;
        let parsing = source::Parsing {
            worker: local,
            names: self.first.map(|_| Arc::clone(&self.instruments)),
            parsers: self.parsers.clone(),
            accounts: self.accounts.clone(),
            out: self.to_collector.clone(),
            quantum: Quantum::new(self.settings.quantum_ms),
            ahead_ms_max: self.settings.ahead_ms_max,
        };
        let (mut inputs, told) = source::source(scope, input, &self.wakers, parsing, keeps_journal, keeping);
        inputs.processes = told.map(|told| self.processes(told));
        if keeps_journal {
            let sender = self.to_collector.clone();
            inputs.clocks = inputs.clocks.inspect_container(move |event| {
                if let Ok((known_at, clocks)) = event {
                    let lasting = clocks.iter().copied().filter(|clock| !matches!(clock, Clock::Flush | Clock::Save)).collect();
                    let _ = sender.send(Output::Clocks(*known_at, lasting)); // as below
                }
            });
        }
        let (views, journal) = graph::build(inputs, &self.settings.views, &self.instruments, &self.counters);
        if keeps_journal {
            let sender = self.to_collector.clone();
            journal
                .inspect_container(move |event| {
                    if let Ok((known_at, rows)) = event {
                        let _ = sender.send(Output::Base(*known_at, rows.clone())); // as below
                    }
                })
                .probe_with(probe);
        }
        let sender = self.to_collector.clone();
        // The collector is gone only when the run is being torn down.
        let told = views.tell(scope, move |changes| drop(sender.send(Output::Changes(changes))));
        told.probe_with(probe);
    }

    /// What the processes tell each other comes to every worker.
    fn processes<'scope>(&self, told: StreamVec<'scope, u64, Told>) -> Processes<'scope> {
        let ends = Arc::clone(&self.ends);
        let names = told.broadcast().flat_map(move |told| match told {
            Told::Name(venue, symbol) => Some((venue, symbol)),
            Told::Ends => {
                ends.store(true, Ordering::Release);
                None
            }
        });
        let Settings { idle_ms, quantum_ms, .. } = self.settings;
        Processes { names, heard_ms: idle_ms.saturating_sub(SILENCE_SLACK * quantum_ms) }
    }
}
