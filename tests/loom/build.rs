//! Puts loom into hedge-core.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(hedge_loom)");
    println!("cargo::rustc-cfg=hedge_loom");
    println!("cargo::rerun-if-changed=build.rs");
}
