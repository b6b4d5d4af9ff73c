import { join, resolve } from 'node:path';
import { ensureSystemPackages } from '../prerequisites.ts';
import { Progress } from '../progress.ts';
import { cacheFolder, statePaths } from '../state.ts';
import { writeArchive } from './archive.ts';
import { productImage } from './product.ts';

/** `npm run build:image -- FILE`: builds deploy/Dockerfile without Docker, and writes the image as an OCI archive. */
const [file, ...rest] = process.argv.slice(2);
if (file === undefined || rest.length > 0) throw new Error('Usage: npm run build:image -- FILE');
const progress = new Progress(process.stdout);
const env = process.env;
await ensureSystemPackages(progress, join(statePaths(env).root, 'build-log'));
const image = await progress.step('build deploy/Dockerfile', () => productImage(join(cacheFolder(env), 'images')));
await progress.step(`write ${file}`, () => writeArchive(resolve(file), image, new Set()));
progress.say(`It holds ${image.tag}. For example: skopeo copy oci-archive:${file} docker://REGISTRY/device-mounter`);
