//! The engine: the only place where a thread hands data to timely and back.
//!
//! [`Input`] is the feeder's side: it cuts arrival into quanta and deals batches out to workers in turn. Each worker parses
//! its batches where timely calls it ([`source`]), runs the graph, and sends what the views changed to [`output`], where a
//! collector puts the quanta together again. Every channel is bounded, so a slow store slows the feeder down and nothing piles up.

mod input;
mod output;
mod source;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};
use dataflows::graph;
use dataflows::hot::Counters;
use dataflows::keeping::{Keep, Keeping, SavedState, States};
use dataflows::model::{BaseRow, Changes, Clock, Instruments};
use dataflows::models::Release;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::core::InspectCore;

use crate::accounts::Accounts;
use crate::recovery::Entry;
use input::Message;
pub use input::{Input, Past};
pub use output::{Bundle, Collector, Next};
pub use source::ParserFactory;

/// Batches under way to one worker.
const INPUT_BATCHES_MAX: usize = 4;
/// Messages under way to the collector.
const OUTPUT_MESSAGES_MAX: usize = 1_024;

/// Building the graph takes milliseconds; after this long the start goes on without waiting.
const READY_MAX: Duration = Duration::from_secs(10);

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
}

impl Running {
    /// Waits for the workers to finish; the input must have been finished and the collector be read meanwhile.
    ///
    /// # Errors
    /// If a worker could not start or panicked.
    pub fn join(self) -> anyhow::Result<()> {
        self.workers.join().map_err(|panic| anyhow::anyhow!("a worker died: {}", panic_text(&*panic)))?
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Starts the workers; they are ready for input when it returns. `models` are known before anything else.
///
/// # Errors
/// If there are no workers.
pub fn start(
    settings: Settings,
    instruments: Arc<Instruments>,
    parsers: ParserFactory,
    models: Vec<Release>,
) -> anyhow::Result<Engine> {
    anyhow::ensure!(settings.workers > 0, "an engine of 0 workers can do nothing; set engine.workers to 1 or more");
    let accounts = Arc::new(Accounts::default());
    let counters = Arc::new(Counters::default());
    let (to_collector, from_workers) = bounded(OUTPUT_MESSAGES_MAX);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..settings.workers).map(|_| bounded(INPUT_BATCHES_MAX)).unzip();
    let wakers = source::Wakers::new(settings.workers);
    let mut input = Input::new(senders, wakers.clone(), settings.quantum_ms, settings.idle_ms);
    let collector = Collector::new(from_workers);
    let (ready, is_ready) = bounded(settings.workers);
    let workers = settings.workers;
    let running = {
        let (accounts, counters, instruments) = (accounts.clone(), counters.clone(), instruments.clone());
        let work = move || run(&settings, receivers, wakers, to_collector, ready, parsers, accounts, counters, instruments);
        std::thread::Builder::new().name("engine".into()).spawn(work).context("starting the engine's thread")?
    };
    for _ in 0..workers {
        match is_ready.recv_timeout(READY_MAX) {
            Ok(None) => {}
            Ok(Some(failed)) => {
                anyhow::bail!("going on from a snapshot: {failed}; move the journal's directory away to begin anew")
            }
            Err(_) => break, // a worker died on the way; joining tells why
        }
    }
    for model in models {
        let _ = input.release(model); // if the workers are gone, the first frames tell
    }
    Ok(Engine { input, collector, running: Running { workers: running, accounts, counters, instruments } })
}

#[allow(clippy::too_many_arguments)] // the wiring of one thread, called once
fn run(
    settings: &Settings,
    receivers: Vec<Receiver<Message>>,
    wakers: source::Wakers,
    to_collector: Sender<Output>,
    ready: Sender<Option<String>>,
    parsers: ParserFactory,
    accounts: Arc<Accounts>,
    counters: Arc<Counters>,
    instruments: Arc<Instruments>,
) -> anyhow::Result<()> {
    let receivers: Arc<Mutex<Vec<Option<Receiver<Message>>>>> = Arc::new(Mutex::new(receivers.into_iter().map(Some).collect()));
    let views_config = settings.views.clone();
    let quantum = input::Quantum::new(settings.quantum_ms);
    let ahead_ms_max = settings.ahead_ms_max;
    let keeps_journal = settings.keeps_journal;
    let states = Arc::clone(&settings.states);
    let guards = timely::execute(timely::Config::process(settings.workers), move |worker| {
        let index = worker.index();
        let input = receivers.lock().ok().and_then(|mut receivers| receivers.get_mut(index)?.take());
        let probe = ProbeHandle::new();
        let out = to_collector.clone();
        let saved = to_collector.clone();
        let keep: Keep = Arc::new(move |state| {
            let _ = saved.send(Output::Saved(state)); // as below
        });
        let keeping = Keeping::new(index, worker.peers(), keep, Arc::clone(&states));
        worker.dataflow::<u64, _, _>(|scope| {
            let parser =
                source::Parsing { parsers: parsers.clone(), accounts: accounts.clone(), out: out.clone(), quantum, ahead_ms_max };
            let mut inputs = source::source(scope, input, &wakers, parser, keeps_journal, keeping.clone());
            if keeps_journal {
                let sender = out.clone();
                inputs.clocks = inputs.clocks.inspect_container(move |event| {
                    if let Ok((known_at, clocks)) = event {
                        let lasting =
                            clocks.iter().copied().filter(|clock| !matches!(clock, Clock::Flush | Clock::Save)).collect();
                        let _ = sender.send(Output::Clocks(*known_at, lasting)); // as below
                    }
                });
            }
            let (views, journal) = graph::build(inputs, &views_config, &instruments, &counters);
            if keeps_journal {
                let sender = out.clone();
                journal
                    .inspect_container(move |event| {
                        if let Ok((known_at, rows)) = event {
                            let _ = sender.send(Output::Base(*known_at, rows.clone())); // as below
                        }
                    })
                    .probe_with(&probe);
            }
            macro_rules! send {
                ($($view:ident: $kind:ident($row:ty),)*) => {$(
                    let sender = out.clone();
                    views.$view.inner
                        .inspect_container(move |event| if let Ok((_, changes)) = event {
                            // The collector is gone only when the run is being torn down.
                            let _ = sender.send(Output::Changes(Changes::$kind(changes.clone())));
                        })
                        .probe_with(&probe);
                )*};
            }
            dataflows::for_each_view!(send);
        });
        let _ = ready.send(keeping.failed()); // nobody waits any more: as good
        let mut told = 0;
        while !probe.done() {
            worker.step_or_park(None);
            // One worker's probe speaks for all: progress is global, and their sends came before it.
            let complete = probe.with_frontier(|frontier| frontier.first().copied());
            if index == 0 && complete.is_some_and(|to| to > told) {
                told = complete.unwrap_or(told);
                let _ = out.send(Output::Progress(told));
            }
        }
        if index == 0 {
            let _ = out.send(Output::Progress(u64::MAX));
        }
    })
    .map_err(|error| anyhow::anyhow!("starting {} workers: {error}", settings.workers))?;
    for result in guards.join() {
        result.map_err(|error| anyhow::anyhow!("a worker died: {error}"))?;
    }
    Ok(())
}
