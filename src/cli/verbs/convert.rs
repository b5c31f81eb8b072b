//! `convert`: any checkpoint as a Hugging Face folder.

use anyhow::Result;
use candle_core::{DType, Device};
use counterpath::base::Progress;
use counterpath::model::Adapter;
use counterpath::model::convert::{Finite, Origin, WriteOptions, convert};
use counterpath::model::hub;
use counterpath::model::reference::CheckpointRef;
use serde_json::json;

use super::super::checkpoint_args::{Convert, StoredType};
use super::super::load::hub_options;
use super::{Format, print_json};

/// Writes the folder.
pub fn run(args: &Convert, format: Format, progress: &dyn Progress) -> Result<()> {
    let options = WriteOptions {
        dtype: args.dtype.map(|dtype| match dtype {
            StoredType::F64 => DType::F64,
            StoredType::F32 => DType::F32,
            StoredType::F16 => DType::F16,
            StoredType::Bf16 => DType::BF16,
        }),
        shard_bytes: args.shard_bytes,
        finite: if args.check_finite { Finite::Checked } else { Finite::Unchecked },
    };
    let adapter = args.adapter.as_deref().map(|folder| Adapter::load(folder, &Device::Cpu)).transpose()?;
    let adapter = adapter.as_ref();
    let written = match CheckpointRef::parse(&args.model)? {
        CheckpointRef::Embedded => convert(Origin::Embedded, adapter, &args.output, &options, progress)?,
        CheckpointRef::Folder(path) => convert(Origin::Path(&path), adapter, &args.output, &options, progress)?,
        CheckpointRef::Hub { id, revision } => {
            let folder = hub::fetch(&id, &revision, &hub_options()?, progress)?;
            convert(Origin::Path(&folder), adapter, &args.output, &options, progress)?
        }
    };
    match format {
        Format::Json => print_json(&json!({
            "output": args.output, "tensors": written.tensors, "bytes": written.bytes, "files": written.files,
            "tokenizer": written.tokenizer,
        })),
        Format::Text => {
            let tokenizer = if written.tokenizer { "with its tokenizer" } else { "without a tokenizer" };
            println!(
                "{} tensors, {} bytes in {} file(s), {tokenizer}: {}",
                written.tensors,
                written.bytes,
                written.files.len(),
                args.output.display()
            );
            Ok(())
        }
    }
}
