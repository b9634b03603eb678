@echo off
rem Starts Sealwright from this folder, without installation: sealwright.cmd verify FILE --trust TRUST
rem Needs Python 3.11 to 3.14, 64 bits: python\python.exe in this folder (the "embeddable package" unpacked there), or the machine's own.
setlocal DisableDelayedExpansion
rem A program named like Python in the current folder is not started.
set "NoDefaultCurrentDirectoryInExePath=1"
if exist "%~dp0python\python.exe" (
    "%~dp0python\python.exe" -I -S -B "%~dp0launch.py" %*
    goto end
)
for %%P in (py.exe) do if not "%%~$PATH:P"=="" (
    "%%~$PATH:P" -3 -I -S -B "%~dp0launch.py" %*
    goto end
)
for %%P in (python.exe) do if not "%%~$PATH:P"=="" (
    "%%~$PATH:P" -I -S -B "%~dp0launch.py" %*
    goto end
)
echo sealwright: Python 3.11 or newer is needed. Install it, or unpack its embeddable package into "%~dp0python". 1>&2
exit /b 2
:end
exit /b %ERRORLEVEL%
