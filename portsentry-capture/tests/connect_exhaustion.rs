//! Connect mode when the process has no free descriptors. The limit applies to the whole
//! process, so this is a separate test program.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use portsentry_capture::{ConnectNotice, ConnectOptions, ConnectSensor, Reply, Sensor};
use portsentry_core::{Observation, PortSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Waits until the sensor is readable, and returns its observations.
fn next(sensor: &mut ConnectSensor) -> Vec<Observation> {
    let mut interest = [PollFd::from_borrowed_fd(sensor.descriptor().unwrap(), PollFlags::IN)];
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut interest, Some(&patience)), Ok(1), "the sensor did not become readable");
    let mut found = Vec::new();
    let mut keep = |observation: &Observation| {
        found.push(*observation);
        Reply::Banner
    };
    sensor.drain_answering(64, &mut keep).unwrap();
    found
}

fn allow_descriptors(number: u64) {
    let limit = Rlimit { current: Some(number), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
fn connections_are_observed_without_free_descriptors() {
    let port = {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        free.local_addr().unwrap().port()
    };
    let options = ConnectOptions::new(PortSet::from_iter([port]), PortSet::new())
        .with_addresses([Ipv4Addr::LOCALHOST.into()])
        .with_banner(*b"banner");
    let mut bound = Vec::new();
    let mut sensor = ConnectSensor::open(options, &mut |notice| bound.push(*notice)).unwrap();
    assert!(matches!(bound[..], [ConnectNotice::Bound(endpoint)] if endpoint.port == port));
    let before = getrlimit(Resource::Nofile).current.unwrap();

    // No descriptor is free; the sensor uses its spare one to read the source address.
    let clients: Vec<TcpStream> =
        (0..5).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    let highest = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().unwrap().parse::<u64>().ok());
    allow_descriptors(highest.max().unwrap());
    // Also uses the free numbers below the highest.
    let mut fill = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        fill.push(file);
    }
    let mut seen = next(&mut sensor);
    while seen.len() < clients.len() {
        seen.extend(next(&mut sensor));
    }
    for (client, observation) in clients.iter().zip(&seen) {
        let local = client.local_addr().unwrap();
        assert_eq!((observation.source, observation.source_port), (local.ip(), local.port()));
    }
    assert_eq!((sensor.answers().turned_away, sensor.answers().accept_failed), (5, 0));
    drop(fill);

    // Without the spare descriptor: the sensor reports the failure and retries later.
    allow_descriptors(before);
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    allow_descriptors(3);
    let started = Instant::now();
    assert_eq!(next(&mut sensor), []);
    let notice = sensor.poll_notice();
    let Some(ConnectNotice::AcceptFailed { port: at, errno, .. }) = notice else {
        panic!("{notice:?}");
    };
    assert_eq!((at, errno), (port, Errno::MFILE.raw_os_error()));
    assert_eq!(sensor.poll_notice(), None);
    allow_descriptors(before);
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen = next(&mut sensor);
    }
    assert!(started.elapsed() >= Duration::from_millis(90), "{:?}", started.elapsed());
    assert_eq!(seen[0].source_port, client.local_addr().unwrap().port());
    assert_eq!(sensor.answers().accept_failed, 1);
    assert_eq!(sensor.answers().banners, 1);
}
