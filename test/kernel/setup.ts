import { jest } from '@jest/globals';

// Each starts real containers, which takes a second alone, and many on a machine that is busy with other suites.
jest.setTimeout(30_000);
