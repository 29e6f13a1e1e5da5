//! Real services with their own configuration, in the namespace of the host, and a second
//! namespace behind it to which the host translates ports.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use portsentry_testbed::{Background, Namespace, Root, SOON, Signal, Testbed, wait_until};

use crate::station::{Station, open_to_all};

/// Waits until something listens on this TCP port. No packet is sent.
#[track_caller]
fn wait_for_listener(host: &Namespace, port: u16) {
    let filter = ["-Htln", "sport", "=", &format!(":{port}")];
    wait_until("a listener", || !host.run("ss", &filter).trim().is_empty());
}

/// A web server on port 80 of both families.
#[derive(Debug)]
pub(crate) struct Nginx<'a> {
    host: &'a Namespace,
    configuration: String,
    process: Option<Background>,
}

impl<'a> Nginx<'a> {
    /// Starts the server and waits until it listens.
    #[track_caller]
    pub(crate) fn start(host: &'a Namespace, station: &Station<'_>) -> Self {
        let text = "daemon off; user root; worker_processes 1; pid {dir}/nginx.pid;\n\
            error_log {dir}/nginx.log; events {}\n\
            http { access_log off; keepalive_timeout 0;\n\
            client_body_temp_path {dir}/n1; proxy_temp_path {dir}/n2; fastcgi_temp_path {dir}/n3;\n\
            uwsgi_temp_path {dir}/n4; scgi_temp_path {dir}/n5;\n\
            server { listen 80; listen [::]:80; return 200 page; } }\n";
        station.write("nginx.conf", &station.expand(text));
        let configuration = station.path("nginx.conf").display().to_string();
        let mut nginx = Self { host, configuration, process: None };
        nginx.run();
        wait_for_listener(host, 80);
        nginx
    }

    pub(crate) fn run(&mut self) {
        self.process = Some(self.host.spawn("nginx", &["-c", &self.configuration]));
    }

    /// Stops the server by `signal` and waits for its end.
    #[track_caller]
    pub(crate) fn stop(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            process.signal(signal);
            process.wait(SOON);
        }
    }
}

impl Drop for Nginx<'_> {
    fn drop(&mut self) {
        // The main process must end its workers.
        self.stop(Signal::TERM);
    }
}

/// The content of the file that the FTP server offers as `file`.
pub(crate) const FILE: &str = "a file\n";

/// Starts an FTP server on port 21 that opens a port for each transfer.
#[track_caller]
pub(crate) fn start_ftp(host: &Namespace, station: &Station<'_>) -> Background {
    for folder in [station.path(""), station.path("ftp"), station.path("empty")] {
        fs::create_dir_all(&folder).expect("folder");
        open_to_all(&folder);
    }
    let stored = station.path("ftp/stored");
    fs::create_dir_all(&stored).expect("folder");
    fs::set_permissions(&stored, Permissions::from_mode(0o777)).expect("chmod");
    station.write("ftp/file", FILE);
    open_to_all(&station.path("ftp/file"));
    let text = "listen=YES\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\n\
        no_anon_password=YES\nftp_username=daemon\nnopriv_user=nobody\nseccomp_sandbox=NO\n\
        xferlog_enable=NO\nwrite_enable=YES\nanon_upload_enable=YES\nanon_root={dir}/ftp\nsecure_chroot_dir={dir}/empty\n";
    station.write("vsftpd.conf", &station.expand(text));
    let process = host.spawn("vsftpd", &[station.path("vsftpd.conf").to_str().expect("path")]);
    wait_for_listener(host, 21);
    process
}

/// TCP port of the host that is translated to port 80 of the second namespace.
pub(crate) const TRANSLATED: u16 = 8_080;
/// TCP port of the host that is redirected to its own port 80.
pub(crate) const REDIRECTED: u16 = 8_081;
/// UDP port of the host that is translated to port 53 of the second namespace.
pub(crate) const TRANSLATED_UDP: u16 = 8_053;

/// A namespace behind the host with a TCP service that sends a greeting and a UDP service
/// that returns each datagram. The host translates ports for it.
#[derive(Debug)]
pub(crate) struct Inside {
    _namespace: Namespace,
}

impl Inside {
    #[track_caller]
    pub(crate) fn new(root: Root, bed: &Testbed) -> Self {
        let namespace = Namespace::isolated(root);
        let (outer, inner) = (Ipv4Addr::new(172, 30, 0, 1), Ipv4Addr::new(172, 30, 0, 2));
        let peer = ["peer", "name", "inside0", "netns", namespace.name()];
        bed.host.ip(&[&["link", "add", "bridge0", "type", "veth"], &peer[..]].concat());
        for (end, interface, address) in
            [(&bed.host, "bridge0", outer), (&namespace, "inside0", inner)]
        {
            end.ip(&["address", "add", &format!("{address}/24"), "dev", interface]);
            end.ip(&["link", "set", interface, "up"]);
        }
        namespace.ip(&["route", "add", "default", "via", &outer.to_string()]);
        let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
        bed.host.enter(|| fs::write(forward, "1")).expect("ip_forward");
        for rule in [
            "add table ip translate",
            "add chain ip translate in { type nat hook prerouting priority dstnat; }",
            &format!("add rule ip translate in tcp dport {TRANSLATED} dnat to {inner}:80"),
            &format!("add rule ip translate in udp dport {TRANSLATED_UDP} dnat to {inner}:53"),
            &format!("add rule ip translate in tcp dport {REDIRECTED} redirect to :80"),
        ] {
            bed.host.run("nft", &[rule]);
        }

        let bind = || {
            let tcp = TcpListener::bind((inner, 80)).expect("listen");
            (tcp, UdpSocket::bind((inner, 53)).expect("bind"))
        };
        let (tcp, udp) = namespace.enter(bind);
        // Both threads end with the process of the tests.
        thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                // If unread bytes were left, the kernel would reset the connection.
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(b"greeting");
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(&buffer[..length], peer);
            }
        });
        Self { _namespace: namespace }
    }
}

/// Receives `count` datagrams on a port of `target` that the kernel chooses, and closes it.
/// `announce` gets its address.
pub(crate) fn receive_stream(
    host: &Namespace,
    target: Ipv4Addr,
    count: usize,
    announce: impl FnOnce(SocketAddr),
) {
    let socket = host.enter(|| UdpSocket::bind((target, 0))).expect("bind");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
    announce(socket.local_addr().expect("address"));
    let mut buffer = [0; 2_048];
    for _ in 0..count {
        // If the host has blocked the client, no datagram arrives. The test reports that.
        let _ = socket.recv(&mut buffer);
    }
}
