//! `hedge-web-bindgen nodejs|web IN.wasm OUT_FOLDER`

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| {
        arguments
            .next()
            .with_context(|| format!("{what} is missing"))
    };
    let (host, input, output) = (next("the host")?, next("the input")?, next("the output")?);

    let mut bindgen = Bindgen::new();
    match host.as_str() {
        "nodejs" => bindgen.nodejs(true)?,
        "web" => bindgen.web(true)?,
        _ => bail!("the host is `{host}`: expected `nodejs` or `web`"),
    };
    bindgen
        .input_path(input)
        .typescript(false)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(output)
}
