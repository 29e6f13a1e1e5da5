//! The main thread's side, with simulated packet threads.

use std::sync::mpsc;

use portsentry_core::{Effect, Engine, HashKey, Limits, Observation, TcpFlags};

use super::*;

/// The work of a simulated packet thread.
type Work = Box<dyn FnOnce(&WakeQueue<Command>, &WakeQueue<Notice>) + Send>;

/// Creates packet threads that run `work` instead.
fn shards(works: Vec<Work>) -> Shards {
    let mut shards = Shards::new(Vec::new(), SourceHash::new(7)).unwrap();
    for (ring, work) in works.into_iter().enumerate() {
        let commands = Arc::new(WakeQueue::new().unwrap());
        let (theirs, notices) = (Arc::clone(&commands), Arc::clone(&shards.notices));
        let handle = std::thread::spawn(move || {
            work(&theirs, &notices);
            notices.push(Notice::Ended(ring));
            Err(Failure::RestartNeeded(format!("ring {ring}")))
        });
        shards.threads.push(Thread {
            commands,
            handle: Some(handle),
            pending_acks: 0,
            ended: false,
        });
    }
    shards
}

/// Answers as ring `ring` until the sender of `end` is gone.
fn answering(ring: usize, end: mpsc::Receiver<()>) -> Work {
    Box::new(move |commands, notices| {
        while end.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            for command in commands.take() {
                if matches!(command, Command::Sync) {
                    notices.push(Notice::Synced(ring));
                }
            }
            std::thread::yield_now();
        }
    })
}

#[test]
fn one_thread_that_hangs_is_not_hidden_by_the_others() {
    let (alive, end) = mpsc::channel();
    let (hung, never) = mpsc::channel::<()>();
    let hangs = Box::new(move |_: &WakeQueue<Command>, _: &WakeQueue<Notice>| {
        let _ = never.recv();
    });
    let mut shards = shards(vec![answering(0, end), hangs]);
    // No command was sent yet.
    assert!(shards.is_responsive());
    while shards.threads[0].pending_acks > 0 {
        shards.listen();
    }
    assert!(!shards.is_responsive());
    assert!(!shards.is_responsive());
    drop(hung);
    while !shards.threads[1].ended {
        shards.listen();
    }
    // The exit of a thread is reported separately.
    assert!(shards.is_responsive());
    drop(alive);
}

#[test]
fn a_pause_ends_when_all_threads_have_acknowledged() {
    let (ends, works): (Vec<_>, Vec<_>) = (0..3)
        .map(|ring| {
            let (alive, end) = mpsc::channel();
            (alive, answering(ring, end))
        })
        .unzip();
    let mut shards = shards(works);
    shards.watch();
    shards.pause();
    assert!(shards.threads.iter().all(|thread| thread.pending_acks == 0));
    drop(ends);
}

fn is_readable(shards: &Shards) -> bool {
    let interest = Some(Interest::readable(shards.descriptor()));
    reactor::wait([interest], Some(Duration::ZERO)).unwrap() == [true]
}

#[test]
fn notices_that_arrive_during_a_sync_are_kept() {
    let asks = Box::new(|commands: &WakeQueue<Command>, notices: &WakeQueue<Notice>| {
        let mut answers = 0;
        while answers < 2 {
            for command in commands.take() {
                if matches!(command, Command::Sync) {
                    // Before the first acknowledgement, as a thread that had decided earlier.
                    if answers == 0 {
                        notices.push(Notice::Respond(response()));
                    }
                    notices.push(Notice::Synced(0));
                    answers += 1;
                }
            }
            std::thread::yield_now();
        }
    });
    let mut shards = shards(vec![asks]);
    shards.pause();
    assert!(is_readable(&shards), "a response");
    shards.requested.clear();
    shards.listen();
    assert!(!is_readable(&shards));
    // The thread ends with this acknowledgement.
    shards.pause();
    while !shards.threads[0].ended {
        shards.is_responsive();
    }
    assert!(is_readable(&shards), "an end");
}

/// A response that an engine requests.
fn response() -> Response {
    let policy =
        Policy { tcp_ports: [23].into_iter().collect(), block_tcp: true, ..Policy::default() };
    let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(1));
    let [source, target] = ["192.0.2.7:40000", "198.51.100.1:23"].map(|it| it.parse().unwrap());
    let probe = Observation::segment(source, target, TcpFlags::SYN).on(1);
    engine.observe(&probe, monotonic());
    let Some(Effect::Respond(response)) = engine.poll_effect() else { panic!("no response") };
    response
}

#[test]
fn a_failed_thread_ends_the_program_with_its_error() {
    let (_alive, end) = mpsc::channel();
    let ends = Box::new(|_: &WakeQueue<Command>, _: &WakeQueue<Notice>| ());
    let mut shards = shards(vec![answering(0, end), ends]);
    shards.pause();
    let failure = shards.check().unwrap_err();
    assert_eq!(failure.to_string(), "ring 1: restart needed");
    assert!(shards.threads[1].ended && !shards.threads[0].ended);
}

#[test]
#[should_panic(expected = "the panic of the thread")]
fn a_thread_that_panics_panics_here() {
    struct Say(Arc<WakeQueue<Notice>>);
    impl Drop for Say {
        fn drop(&mut self) {
            self.0.push(Notice::Ended(0));
        }
    }
    let mut shards = Shards::new(Vec::new(), SourceHash::new(7)).unwrap();
    let commands = Arc::new(WakeQueue::new().unwrap());
    let say = Say(Arc::clone(&shards.notices));
    let handle = std::thread::spawn(move || {
        let _say = say;
        panic!("the panic of the thread")
    });
    shards.threads.push(Thread { commands, handle: Some(handle), pending_acks: 0, ended: false });
    shards.pause();
    let _ = shards.check();
}
