// SPDX-License-Identifier: MIT
// Runs every case of a folder in ONNX Runtime and compares with the scores
// that Sotto wrote beside it:  node compare.mjs FOLDER
//
// A case is NAME.onnx, NAME.in and NAME.out (float32, one image after the
// other) and a line of cases.txt: NAME, number of images, shape of one image.

import fs from 'node:fs';
import path from 'node:path';
import * as ort from 'onnxruntime-web';

const LIMIT = 1e-4; // of the score, or of 1 where the score is smaller

ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';

function floats(file) {
    const bytes = fs.readFileSync(file);
    return new Float32Array(
        bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

async function worstDifference(folder, name, images, shape) {
    const file = (suffix) => path.join(folder, name + suffix);
    const session =
        await ort.InferenceSession.create(fs.readFileSync(file('.onnx')));
    const input = new ort.Tensor('float32', floats(file('.in')),
                                 [images, ...shape]);
    const result = await session.run({[session.inputNames[0]]: input});
    const have = result[session.outputNames[0]];
    const want = floats(file('.out'));
    if (have.data.length !== want.length || have.dims[0] !== images) {
        throw new Error(`${name}: result of shape [${have.dims}], ` +
                        `expected ${want.length} scores`);
    }
    let worst = 0;
    for (let i = 0; i < want.length; i++) {
        const off = Math.abs(have.data[i] - want[i]) /
                    Math.max(1, Math.abs(want[i]));
        worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
    }
    await session.release();
    return worst;
}

const folder = process.argv[2];
const lines = fs.readFileSync(path.join(folder, 'cases.txt'), 'utf8')
                  .trim().split('\n');
let failed = 0;

for (const line of lines) {
    const [name, images, ...shape] = line.split(' ');
    const worst = await worstDifference(folder, name, Number(images),
                                        shape.map(Number));
    const ok = worst <= LIMIT;
    failed += ok ? 0 : 1;
    console.log(`${ok ? 'ok' : 'not ok'} - ${name}: ${images} images, ` +
                `largest difference ${worst.toExponential(2)}`);
}
console.log(`${lines.length - failed} of ${lines.length} models give the ` +
            `same scores to ${LIMIT} in ONNX Runtime`);
process.exit(failed === 0 ? 0 : 1);
