//! The program, run with what it reads.

#![allow(dead_code, reason = "not every test needs everything")]

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;

/// What the program does with these arguments, words with spaces between them, and this on standard input.
pub(crate) fn run(arguments: &str, input: &str) -> Output {
    let mut child = command(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that refuses its arguments does not read.
    let writer = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub(crate) fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whatif"));
    command
        .args(arguments.split_whitespace())
        // Files are named without their folder, which may have a space in its name.
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What it prints. It succeeds, and has nothing to say on standard error.
pub(crate) fn printed(arguments: &str, input: &str) -> String {
    let output = run(arguments, input);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments}: {errors}");
    assert_eq!(errors, "", "{arguments}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says on standard error. It fails, and prints nothing else.
pub(crate) fn refused(arguments: &str, input: &str) -> String {
    let output = run(arguments, input);
    assert!(!output.status.success(), "{arguments}");
    assert_eq!(output.stdout, b"", "{arguments}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

/// The rows it prints with `--json`.
pub(crate) fn rows(arguments: &str, input: &str) -> Vec<Value> {
    let text = printed(&format!("{arguments} --json"), input);
    serde_json::from_str(&text).unwrap()
}

/// The only row.
pub(crate) fn row(arguments: &str, input: &str) -> Value {
    let [row] = <[Value; 1]>::try_from(rows(arguments, input)).unwrap();
    row
}

pub(crate) fn number(row: &Value, key: &str) -> f64 {
    row[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} of {row}"))
}

/// `n` latencies, a line each: 10 to 20 ms, but 400 ms one time in fifty.
pub(crate) fn bimodal(n: u32) -> String {
    let latency = |i: u32| {
        if i.is_multiple_of(50) {
            400.0
        } else {
            10.0 + f64::from(i * 37 % 100) / 10.0
        }
    };
    (0..n).map(|i| format!("{}\n", latency(i))).collect()
}

/// One after the other, without a pattern: SplitMix64.
pub(crate) fn uniform(seed: u64) -> impl Iterator<Item = f64> {
    (1..).map(move |n: u64| {
        let mut z = (seed + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    })
}
