//! Alerts of all processes go to the first one, whose desk tells people, and an answer comes back once they are on its disk.
//!
//! It is a dataflow of its own beside the views': a question is exchanged to the very first worker, its answer to the first worker of
//! the process that asked. Times mean nothing in it. It ends when every process has said its last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alerts::Alert;
use anyhow::Context;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use crate::cluster::{Lost, PROCESSES_MAX};

/// Questions that wait in one process: its keeper waits for the answer to each.
const QUESTIONS_MAX: usize = 64;
/// How often is looked after other things while an answer is waited for.
const LOOK: Duration = Duration::from_millis(1);

/// Alerts that are to be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Question {
    process: u64,
    /// JSON: what is told has fields that may be left out, which the form that timely sends does not know.
    alerts: String,
}

/// They are on disk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Answer {
    process: u64,
}

/// One end of a channel into the dataflow. Dropped, it ends that input.
struct Inlet<T> {
    sender: Option<Sender<T>>,
    waker: Waker,
}

/// Wakes the worker that reads a channel, once there is one.
pub(super) type Waker = Arc<Mutex<Option<SyncActivator>>>;

impl<T> Inlet<T> {
    fn send(&self, value: T) -> bool {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(value).is_ok());
        wake(&self.waker);
        sent
    }
}

impl<T> Drop for Inlet<T> {
    fn drop(&mut self) {
        self.sender = None;
        wake(&self.waker);
    }
}

pub(super) fn wake(waker: &Waker) {
    if let Some(waker) = waker.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        let _ = waker.activate(); // fails only when the worker is gone
    }
}

/// How another process than the first has people told.
pub struct Asking {
    process: u64,
    questions: Inlet<Question>,
    answers: Receiver<Answer>,
    lost: Arc<Lost>,
}

impl Asking {
    /// Has these told; returns once they are on the first process's disk. False: the cluster has ended. Question and answer go through this process's
    /// workers, so `meanwhile` must take from them what would hold them up.
    ///
    /// # Errors
    /// If they can't be written down.
    pub fn tell(&self, alerts: &[Alert], mut meanwhile: impl FnMut()) -> anyhow::Result<bool> {
        let alerts = serde_json::to_string(alerts).context("writing alerts for the process that tells them")?;
        if !self.questions.send(Question { process: self.process, alerts }) {
            return Ok(false);
        }
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(_) => return Ok(true),
                Err(RecvTimeoutError::Timeout) if !self.lost.is_over() => meanwhile(),
                Err(_) => return Ok(false),
            }
        }
    }
}

/// How the first process hears of the others' alerts.
pub struct Answering {
    questions: Receiver<Question>,
    answers: Inlet<Answer>,
}

impl Answering {
    /// Until no process has anything to say any more; `tell` returns once alerts are on disk.
    ///
    /// # Errors
    /// If `tell` fails, or alerts are of another version.
    pub fn work(self, mut tell: impl FnMut(Vec<Alert>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        for Question { process, alerts } in &self.questions {
            tell(serde_json::from_str(&alerts).with_context(|| format!("reading alerts of process {process}"))?)?;
            let _ = self.answers.send(Answer { process }); // a cluster that has ended waits for none
        }
        Ok(())
    }
}

/// Who tells people.
pub enum Teller {
    /// This process, also what the others ask for.
    Answering(Answering),
    /// The first process.
    Asking(Asking),
}

/// What the workers of this process have of it.
#[derive(Clone)]
pub(super) struct Wires {
    /// Workers of each process.
    threads: usize,
    questions: Arc<Mutex<Option<Receiver<Question>>>>,
    asked: Arc<Mutex<Option<Sender<Question>>>>,
    answers: Arc<Mutex<Option<Receiver<Answer>>>>,
    answered: Arc<Mutex<Option<Sender<Answer>>>>,
    wakers: [Waker; 2],
}

/// Both ends, of process `process`, each of which has `threads` workers.
pub(super) fn wires(process: usize, threads: usize, lost: Arc<Lost>) -> (Wires, Teller) {
    let (to_questions, questions) = bounded(QUESTIONS_MAX);
    let (to_asked, asked) = bounded(QUESTIONS_MAX * PROCESSES_MAX);
    let (to_answers, answers) = bounded(QUESTIONS_MAX * PROCESSES_MAX);
    let (to_answered, answered) = bounded(QUESTIONS_MAX);
    let wakers: [Waker; 2] = Default::default();
    let is_first = process == 0;
    let wires = Wires {
        threads,
        questions: Arc::new(Mutex::new((!is_first).then_some(questions))),
        asked: Arc::new(Mutex::new(is_first.then_some(to_asked))),
        answers: Arc::new(Mutex::new(is_first.then_some(answers))),
        answered: Arc::new(Mutex::new((!is_first).then_some(to_answered))),
        wakers: wakers.clone(),
    };
    let [question_waker, answer_waker] = wakers;
    let teller = if is_first {
        Teller::Answering(Answering { questions: asked, answers: Inlet { sender: Some(to_answers), waker: answer_waker } })
    } else {
        let questions = Inlet { sender: Some(to_questions), waker: question_waker };
        Teller::Asking(Asking { process: process as u64, questions, answers: answered, lost })
    };
    (wires, teller)
}

/// Builds the dataflow on one worker; `is_local_first`: it is its process's first.
pub(super) fn build<'scope>(scope: Scope<'scope, u64>, wires: &Wires, is_local_first: bool) {
    fn take<T>(end: &Mutex<Option<T>>, is_mine: bool) -> Option<T> {
        if is_mine { end.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None }
    }
    let threads = wires.threads as u64;
    let questions = input(scope, take(&wires.questions, is_local_first), &wires.wakers[0], "questions");
    deliver(questions, take(&wires.asked, is_local_first), "asked", |_| 0);
    let answers = input(scope, take(&wires.answers, is_local_first), &wires.wakers[1], "answers");
    deliver(answers, take(&wires.answered, is_local_first), "answered", move |answer: &Answer| answer.process * threads);
}

/// What comes out of a channel, until its other end is dropped.
fn input<'scope, T: ExchangeData>(
    scope: Scope<'scope, u64>,
    receiver: Option<Receiver<T>>,
    waker: &Waker,
    name: &str,
) -> StreamVec<'scope, u64, T> {
    let waker = Arc::clone(waker);
    source::<_, CapacityContainerBuilder<Vec<T>>, _, _>(scope, name, move |capability, info| {
        let mut input = receiver.map(|receiver| (receiver, capability));
        if input.is_some() {
            let activator = scope.worker().sync_activator_for(info.address.to_vec());
            *waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(activator);
        }
        move |output| {
            while let Some((receiver, capability)) = &input {
                match receiver.try_recv() {
                    Ok(value) => output.session(capability).give(value),
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => input = None,
                }
            }
        }
    })
}

/// Into a channel on the worker by `route`; its other end sees the end when nothing more can come.
fn deliver<'scope, T: ExchangeData>(
    stream: StreamVec<'scope, u64, T>,
    mut sender: Option<Sender<T>>,
    name: &str,
    route: impl Fn(&T) -> u64 + 'static,
) {
    stream.sink(Exchange::new(route), name, move |(input, frontier)| {
        input.for_each(|_capability, batch| {
            for value in batch.drain(..) {
                // Whoever asks waits for the answer, so the channel has room; without a reader the cluster has ended.
                let _ = sender.as_ref().map(|sender| sender.try_send(value));
            }
        });
        if frontier.is_empty() {
            sender = None;
        }
    });
}
