//! Prints what an image told by defmt: `decode IMAGE < OUTPUT`.

use std::error::Error;
use std::io::{Read, stdin};

use defmt_decoder::{DecodeError, Table};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: decode IMAGE < OUTPUT")?;
    let table = Table::parse(&std::fs::read(path)?)?.ok_or("the image has no defmt table")?;
    let mut output = Vec::new();
    stdin().read_to_end(&mut output)?;

    let mut decoder = table.new_stream_decoder();
    decoder.received(&output);
    loop {
        match decoder.decode() {
            Ok(frame) => println!("{}", frame.display(false)),
            Err(DecodeError::UnexpectedEof) => return Ok(()),
            Err(DecodeError::Malformed) => return Err("the output is malformed".into()),
        }
    }
}
