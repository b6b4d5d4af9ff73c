import { describe, expect, test } from '@jest/globals';
import { endpointOf, idOf, nameOf } from './names.ts';

const BY_ID = '/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0-and-more';

describe('nameOf()', () => {
  test.each([
    ['/dev/fuse', 'dev_fuse'],
    ['/dev/net/tun', 'dev_net_tun'],
    ['/dev/serial/by-path/pci-0:1.0', 'dev_serial_by-path_pci-0_1.0'],
    [`/dev/${'a'.repeat(59)}`, `dev_${'a'.repeat(59)}`],
    ['/dev/x_', 'dev_x_-84514dd14b7a'],
    [BY_ID, 'dev_serial_by-id_usb-FTDI_FT232R_USB_UART_A50285BI-14f03e622634'],
  ])('names %s %s', (path, name) => {
    expect(nameOf(path)).toBe(name);
  });

  test('tells long paths apart that differ at their end', () => {
    expect(nameOf(`${BY_ID}0`)).not.toBe(nameOf(`${BY_ID}1`));
    expect(nameOf(`${BY_ID}0`)).toHaveLength(63);
  });
});

describe('idOf()', () => {
  test('gives a copy the same id, however many there are', () => {
    expect([0, 1, 12].map((index) => idOf('/dev/fuse', index))).toEqual(['/dev/fuse', '/dev/fuse::1', '/dev/fuse::12']);
  });

  test('keeps ids within 63 bytes of ASCII and different from each other', () => {
    const ids = [BY_ID, `${BY_ID}é`, `${BY_ID}ö`, '/dev/é', '/dev/ö'].flatMap((path) =>
      [0, 1, 999].map((at) => idOf(path, at)),
    );
    expect(new Set(ids).size).toBe(15);
    expect(Math.max(...ids.map((id) => Buffer.byteLength(id)))).toBeLessThanOrEqual(63);
  });
});

describe('endpointOf()', () => {
  test.each(['a'.repeat(63), BY_ID, 'dev_fuse'])(
    'fits into the path of a socket in the directory of the kubelet: %s',
    (name) => {
      for (const prefix of ['hostdev.k8s.io', `${'x'.repeat(60)}.${'y'.repeat(60)}.example`])
        expect(`/var/lib/kubelet/device-plugins/${endpointOf(`${prefix}/${name}`)}`.length).toBeLessThanOrEqual(107);
    },
  );

  test('tells resources apart', () => {
    expect(endpointOf(`a.example/${'b'.repeat(63)}`)).not.toBe(endpointOf(`a.example/${'b'.repeat(62)}c`));
    expect(endpointOf('hostdev.k8s.io/dev_fuse')).toBe('hostdev.k8s.io_dev_fuse.sock');
  });
});
