//! Ordinary clients, each at its own address.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use portsentry_testbed::Namespace;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// Time between two requests of a client.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Time after which a client gives up.
const PATIENCE: Duration = Duration::from_secs(3);

/// Number of failed requests after which a client leaves. The kernel of a host that blocks
/// a client does not answer it.
const MOST_FAILURES: u32 = 3;

/// The results of the requests of a client.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Number of complete answers.
    answered: AtomicU32,
    /// Number of requests without an answer, because the server was stopped.
    refused: AtomicU32,
    /// Number of requests that failed otherwise.
    failed: AtomicU32,
}

impl Results {
    pub(crate) fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    fn has_given_up(&self) -> bool {
        self.failed() >= MOST_FAILURES
    }

    pub(crate) fn failed(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Connects from `from` to `to`, sends `request` and reads the answer to its end.
fn request(from: IpAddr, to: SocketAddr, request: &[u8]) -> Result<String, Errno> {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The time limit of sending is that of connecting (socket(7)).
    for direction in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, direction, Some(PATIENCE))?;
    }
    bind(&socket, &SocketAddr::new(from, 0))?;
    connect(&socket, &to)?;
    let mut stream = TcpStream::from(socket);
    let mut answer = String::new();
    let exchange = stream.write_all(request).and_then(|()| stream.read_to_string(&mut answer));
    match exchange {
        Ok(_) => Ok(answer),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Requests a page again and again, until `end` is set.
pub(crate) fn browse(
    namespace: &Namespace,
    from: IpAddr,
    to: SocketAddr,
    results: &Results,
    end: &AtomicBool,
) {
    namespace.enter(|| {
        while !end.load(Ordering::Relaxed) && !results.has_given_up() {
            visit(from, to, results);
            thread::sleep(PAUSE);
        }
    });
}

/// Makes one request and counts the result.
fn visit(from: IpAddr, to: SocketAddr, results: &Results) {
    let counter = match request(from, to, b"GET / HTTP/1.0\r\n\r\n") {
        Ok(answer) if !answer.is_empty() => &results.answered,
        // A server that stops closes connections without an answer.
        Ok(_) | Err(Errno::CONNREFUSED | Errno::CONNRESET) => &results.refused,
        Err(_) => &results.failed,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Makes `count` requests.
pub(crate) fn visit_often(
    namespace: &Namespace,
    from: IpAddr,
    to: SocketAddr,
    count: u32,
    results: &Results,
) {
    namespace.enter(|| {
        for _ in (0..count).take_while(|_| !results.has_given_up()) {
            visit(from, to, results);
            thread::sleep(PAUSE);
        }
    });
}

/// Sends `count` datagrams, each of which the service returns.
pub(crate) fn query_often(
    namespace: &Namespace,
    from: IpAddr,
    to: SocketAddr,
    count: u32,
    results: &Results,
) {
    for _ in (0..count).take_while(|_| !results.has_given_up()) {
        let socket = namespace.enter(|| UdpSocket::bind((from, 0))).expect("bind");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let answer = socket.send_to(b"query", to).and_then(|_| socket.recv(&mut [0; 64]));
        let counter = if answer.is_ok() { &results.answered } else { &results.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
}

/// Fetches a file `count` times from an FTP server in passive mode, with `EPSV` and `PASV`
/// in turns.
pub(crate) fn transfer_often(
    namespace: &Namespace,
    from: IpAddr,
    to: IpAddr,
    content: &str,
    count: u32,
    results: &Results,
) {
    for number in (0..count).take_while(|_| !results.has_given_up()) {
        let mut command = ftp_client(namespace, from);
        command.arg(if number % 2 == 0 { "--ftp-pasv" } else { "--disable-epsv" });
        command.arg(format!("ftp://{to}/file"));
        let output = command.output().expect("curl");
        let is_complete = output.status.success() && output.stdout == content.as_bytes();
        let counter = if is_complete { &results.answered } else { &results.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Stores `file` on an FTP server `count` times. The client closes each connection first, so
/// that no socket of it is left.
pub(crate) fn store_often(
    namespace: &Namespace,
    from: IpAddr,
    to: IpAddr,
    file: &Path,
    count: u32,
    results: &Results,
) {
    for number in (0..count).take_while(|_| !results.has_given_up()) {
        let mut command = ftp_client(namespace, from);
        command.arg("--upload-file").arg(file).arg(format!("ftp://{to}/stored/{number}"));
        let is_complete = command.status().expect("curl").success();
        let counter = if is_complete { &results.answered } else { &results.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn ftp_client(namespace: &Namespace, from: IpAddr) -> Command {
    let mut command = namespace.command("curl");
    command.args(["--silent", "--show-error", "--max-time", "5"]);
    command.args(["--interface", &from.to_string()]).stdin(Stdio::null());
    command
}

/// Sends a stream of `count` datagrams.
pub(crate) fn send_stream(namespace: &Namespace, from: IpAddr, to: SocketAddr, count: usize) {
    let socket = namespace.enter(|| UdpSocket::bind((from, 0))).expect("bind");
    for _ in 0..count {
        // An earlier datagram may have been refused.
        let _ = socket.send_to(&[0x80; 172], to);
        thread::sleep(PAUSE);
    }
}
