//! The examples do what they say.

use std::path::PathBuf;

use assert_cmd::Command;

/// The example, built by `cargo test` beside this test.
fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    Command::new(path.join("examples").join(name))
}

/// A classic pcap file of raw IP packets: an IPv4 SYN to each of `ports`, a
/// second apart.
fn capture(folder: &tempfile::TempDir, ports: &[u16]) -> PathBuf {
    let mut file = Vec::new();
    file.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    file.extend_from_slice(&[2, 0, 4, 0]);
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&65_535_u32.to_le_bytes());
    file.extend_from_slice(&101_u32.to_le_bytes());
    for (second, port) in ports.iter().enumerate() {
        let mut packet =
            vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 7, 198, 51, 100, 1];
        let sum: u32 = packet.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut segment = vec![0x9c, 0x40];
        segment.extend_from_slice(&port.to_be_bytes());
        segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 4, 0, 0, 0, 0, 0]);
        let pseudo: u32 = packet[12..20]
            .chunks(2)
            .chain(segment.chunks(2))
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
            .sum::<u32>()
            + 6
            + 20;
        let folded = (pseudo & 0xffff) + (pseudo >> 16);
        segment[16..18].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        packet.extend_from_slice(&segment);
        file.extend_from_slice(&(second as u32).to_le_bytes());
        file.extend_from_slice(&0_u32.to_le_bytes());
        for _ in 0..2 {
            file.extend_from_slice(&(packet.len() as u32).to_le_bytes());
        }
        file.extend_from_slice(&packet);
    }
    let path = folder.path().join("scan.pcap");
    std::fs::write(&path, file).unwrap();
    path
}

#[test]
fn capture_report_has_a_line_for_each_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = capture(&folder, &[23, 80, 23]);
    let output = example("capture_report").arg(path).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let line = text.lines().nth(1).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["192.0.2.7", "2", "1", "2.000", "3", "TCP", "SYN/Normal", "scan"]);
}

#[test]
fn own_sensor_blocks_at_the_third_contact() {
    let log = "192.0.2.7 198.51.100.1 23\n".repeat(4) + "192.0.2.8 198.51.100.1 23\n";
    let output = example("own_sensor").write_stdin(log).assert().success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert_eq!(text.matches("blocking 192.0.2.7").count(), 1);
    assert_eq!(text.matches("blocking").count(), 1);
    assert_eq!(text.matches("Scan from: [192.0.2.7]").count(), 4);
    assert_eq!(text.matches("type: [Connect]").count(), 5);
    assert_eq!(text.matches("blocked: [true]").count(), 2);
}
